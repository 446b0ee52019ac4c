"""An outage of Kafka looks like no news to whoever polls: after a while of it, ask."""

from __future__ import annotations

import time
from collections.abc import Callable


class Silence:
    """How long one feed has brought nothing."""

    def __init__(
        self,
        ask: Callable[[], None],
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` raises RetriableError if Kafka is not there."""
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._since = clock()

    def note(self, *, broken: bool) -> None:
        """A poll ended; is the silence broken?  Raises what `ask` raises, until Kafka is there."""
        if not broken and self._clock() - self._since < self._seconds:
            return
        if not broken:
            self._ask()
        self._since = self._clock()
