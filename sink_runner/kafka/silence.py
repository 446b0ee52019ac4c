"""An outage of Kafka looks like no news to whoever polls: after a while of it, ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from .feed import Feed

SECONDS = 10.0


def listening(
    open_feed: Callable[[], Feed],
    seconds: float = SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], Feed]:
    """A feed whose poll asks, after so long without a record, whether Kafka is there.

    Then it raises RetriableError, at every poll, until Kafka is back.
    """
    # It has all that the feed has, but that can't be told to the type checker.
    return lambda: cast("Feed", _ListeningFeed(open_feed(), seconds, clock))


class _ListeningFeed:
    def __init__(self, feed: Feed, seconds: float, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._seconds = seconds
        self._clock = clock
        self._since = clock()

    def poll(self, seconds: float) -> Any:
        found = self._feed.poll(seconds)
        if not found:
            if self._clock() - self._since < self._seconds:
                return found
            self._feed.ping()
        self._since = self._clock()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)
