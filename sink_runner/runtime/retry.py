"""What to do while the world says "not now": wait, ask again, and stop when told to."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ..error_text import text_of
from ..errors import FencedError, RetriableError
from ..model.portions import DEFAULT_BYTES
from ..model.status import MappingHealth

T = TypeVar("T")

_JITTER = 0.2


def jittered(seconds: float) -> float:
    """About so long: mappings that failed together should not all come back together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a worker waits for what is not its fault; all times in seconds."""

    steps: Sequence[float]
    maintenance: float
    remember: timedelta
    company: float = 0.0
    """How long rows wait for others to be written with."""
    enough: int = 1
    """So many rows wait for no others."""
    max_bytes: int = DEFAULT_BYTES
    """Bytes of records that are decoded and written as one batch, unless a single one has more."""
    jitter: Callable[[float], float] = jittered


class Insistence:
    """Does something again and again while the world says "not now".

    Whoever has waited through every step keeps waiting by the last one.  From then on the mapping
    is paused: told as an error, once, and to whoever asks whether the runner is ready.
    """

    def __init__(
        self, patience: Patience, stop: threading.Event, log: Any, health: MappingHealth
    ) -> None:
        self._patience = patience
        self._stop = stop
        self._log = log
        self._health = health
        self._paused = False

    def __call__(self, work: Callable[[bool], T]) -> T:
        """Return what `work` does; it is told whether it is tried again."""
        again = False
        for last, step in self._steps():
            try:
                done = work(again)
            except RetriableError as fault:
                again = True
                self._wait(fault, step, last=last)
            else:
                self._resume()
                return done
        raise AssertionError

    def _wait(self, fault: RetriableError, step: float, *, last: bool) -> None:
        reason = text_of(fault)
        delay = max(self._patience.jitter(step), fault.retry_after)
        self._log.warning("waiting", reason=reason, seconds=round(delay, 3))
        if last or fault.lasting:
            self._pause(reason)
        if self._stop.wait(delay):
            raise FencedError("told to stop while waiting") from fault

    def _pause(self, reason: str) -> None:
        self._health.paused(reason)
        if not self._paused:
            self._paused = True
            self._log.error("mapping_paused", reason=reason)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._health.running()
            self._log.info("mapping_resumed")

    def _steps(self) -> Iterator[tuple[bool, float]]:
        """The seconds to wait, and whether there are no longer ones."""
        *first, longest = self._patience.steps
        yield from ((False, step) for step in first)
        while True:
            yield True, longest
