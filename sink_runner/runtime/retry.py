"""Retry with a configured back-off while a dependency is unavailable."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ..error_text import text_of
from ..errors import RetriableError, StoppedError
from ..model.portions import DEFAULT_BYTES
from ..model.status import MappingHealth

T = TypeVar("T")

_JITTER = 0.2


def jittered(seconds: float) -> float:
    """Return `seconds` ± 20 %, so that mappings that failed together do not all return together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a worker retries, expires tombstones and writes a batch; all times in seconds."""

    steps: Sequence[float]
    maintenance: float
    tombstone_retention: timedelta
    linger: float = 0.0
    """How long rows wait for more rows of their batch."""
    max_batch_rows: int = 1
    """A batch of this many rows is written at once."""
    max_bytes: int = DEFAULT_BYTES
    """Bytes of records that are decoded and written as one batch, unless a single one has more."""
    jitter: Callable[[float], float] = jittered


class Retrier:
    """Repeats a piece of work while it raises RetriableError.

    After the last step it keeps retrying at that interval.  From then on the mapping is paused:
    that is logged once as an error, and the runner is not ready.
    """

    def __init__(
        self, retry_policy: RetryPolicy, stop: threading.Event, log: Any, health: MappingHealth
    ) -> None:
        self._patience = retry_policy
        self._stop = stop
        self._log = log
        self._health = health
        self._paused = False

    def __call__(self, work: Callable[[bool], T]) -> T:
        """Return the result of `work`, which gets whether this is a repetition.

        Raises StoppedError when the runner stops meanwhile.
        """
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
            raise StoppedError("told to stop while waiting") from fault

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
        """Yield whether a step is the last one, and its seconds; the last one repeats."""
        *first, longest = self._patience.steps
        yield from ((False, step) for step in first)
        while True:
            yield True, longest
