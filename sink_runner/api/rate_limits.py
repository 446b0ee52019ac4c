"""Rate limits for each caller: token buckets of requests and of bytes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from .problems import ProblemError


class RateLimit:
    """Permits each caller bursts of `burst` units and an average of `rate` units a second."""

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        unit: str = "requests",
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._unit = unit
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str, amount: float = 1) -> None:
        """Spend `amount`, at most the burst, or raise ProblemError and spend nothing."""
        now = self._clock()
        with self._lock:
            tokens, updated = self._buckets.get(caller, (self._burst, now))
            tokens = min(self._burst, tokens + (now - updated) * self._rate)
            if tokens >= amount:
                self._buckets[caller] = (tokens - amount, now)
                return
            self._buckets[caller] = (tokens, now)
        seconds = math.ceil((amount - tokens) / self._rate)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            f"more than {self._rate:.12g} {self._unit} a second; wait for Retry-After",
            headers={"Retry-After": str(seconds)},
        )
