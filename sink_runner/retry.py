"""Retry with a configured back-off while a dependency is unavailable."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .error_text import text_of
from .errors import RetriableError, StoppedError
from .model.status import MappingHealth

T = TypeVar("T")

_JITTER = 0.2


def jittered(seconds: float) -> float:
    """Return `seconds` ± 20 %, so that mappings that failed together do not retry together."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait before each repetition, and when to give up."""

    steps: Sequence[float]
    """Seconds before each repetition."""
    forever: bool
    """Whether to keep retrying at the interval of the last step, instead of raising the error."""
    jitter: Callable[[float], float] = jittered


class Retrier:
    """Repeats a piece of work while it raises RetriableError.

    The mapping is reported as paused from the last step of its policy, once it has failed for as
    long as all steps take, or at once if `lasting`: one log event says so, and the runner is not
    ready.  The time counts because an attempt may take minutes, such as one that waits for a lock.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        stop: threading.Event,
        log: Any,
        health: MappingHealth | None = None,
    ) -> None:
        """`health` reports the pause; None in a process that has no health endpoint."""
        self._policy = policy
        self._stop = stop
        self._log = log
        self._health = health
        self._paused = False

    def __call__(self, work: Callable[[bool], T]) -> T:
        """Return the result of `work`, whose argument says whether this is a repetition.

        Raises StoppedError if the process stops meanwhile.  With a policy that does not retry
        forever, raises the last RetriableError instead, as it does after the last step.
        """
        again, began = False, time.monotonic()
        for step, is_last in self._steps():
            try:
                result = work(again)
            except RetriableError as error:
                again = True
                has_lasted = time.monotonic() - began >= sum(self._policy.steps)
                self._wait(error, step, is_paused=is_last or has_lasted)
            else:
                self._resume()
                return result
        return work(again)

    def _wait(self, error: RetriableError, step: float, *, is_paused: bool) -> None:
        reason = text_of(error)
        delay = max(self._policy.jitter(step), error.retry_after)
        self._log.warning("waiting", reason=reason, seconds=round(delay, 3))
        if self._health and (is_paused or error.lasting):
            self._pause(self._health, error, delay)
        if self._stop.wait(delay):
            if not self._policy.forever:
                raise error
            raise StoppedError("stopped while waiting") from error

    def _pause(self, health: MappingHealth, error: RetriableError, delay: float) -> None:
        reason = text_of(error)
        health.paused(reason, error, delay)
        if not self._paused:
            self._paused = True
            self._log.error("mapping_paused", reason=reason)

    def _resume(self) -> None:
        if self._health and self._paused:
            self._paused = False
            self._health.running()
            self._log.info("mapping_resumed")

    def _steps(self) -> Iterator[tuple[float, bool]]:
        """Yield the seconds of each step, and whether it is the last one."""
        *first, longest = self._policy.steps
        yield from ((step, False) for step in first)
        yield longest, True
        while self._policy.forever:
            yield longest, True
