"""How much a caller may send: a token bucket for each."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from .problems import ProblemError


class RateLimit:
    """Lets `burst` requests through at once and `rate` a second in the long run, by caller."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Count a request, or raise; who is refused has not spent anything."""
        now = self._clock()
        with self._lock:
            tokens, seen = self._buckets.get(caller, (float(self._burst), now))
            tokens = min(self._burst, tokens + (now - seen) * self._rate)
            if tokens >= 1:
                self._buckets[caller] = (tokens - 1, now)
                return
            self._buckets[caller] = (tokens, now)
        seconds = math.ceil((1 - tokens) / self._rate)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            f"more than {self._rate:g} requests a second; wait for Retry-After",
            headers={"Retry-After": str(seconds)},
        )
