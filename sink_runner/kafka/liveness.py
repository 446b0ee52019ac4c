"""An outage of Kafka looks like no news to whoever polls: after a while of it, ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import structlog

from ..error_text import text_of
from ..errors import RetriableError
from ..model.status import MappingHealth
from .feed import Feed

SECONDS = 10.0


def listening(
    open_feed: Callable[[], Feed],
    health: MappingHealth,
    seconds: float = SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], Feed]:
    """A feed whose poll asks, after so long without a record, whether Kafka is there.

    While it is not, the mapping is told as paused.  It goes on polling, which is how the client
    comes back, and with whatever needs no Kafka.
    """
    # It has all that the feed has, but that can't be told to the type checker.
    return lambda: cast("Feed", _ListeningFeed(open_feed(), health, seconds, clock))


class _ListeningFeed:
    def __init__(
        self, feed: Feed, health: MappingHealth, seconds: float, clock: Callable[[], float]
    ) -> None:
        self._feed = feed
        self._health = health
        self._seconds = seconds
        self._clock = clock
        self._heard = clock()
        self._away = False
        self._log = structlog.get_logger().bind(mapping=health.name)

    def poll(self, seconds: float) -> Any:
        found = self._feed.poll(seconds)
        if found or self._clock() - self._heard >= self._seconds:
            self._note("" if found else self._asked())
            self._heard = self._clock()
        return found

    def _asked(self) -> str:
        """Why Kafka is not there, if it is not."""
        try:
            self._feed.ping()
        except RetriableError as fault:
            return text_of(fault)
        return ""

    def _note(self, reason: str) -> None:
        if reason:
            self._health.paused(reason)
        elif self._away:
            self._health.running()
        if bool(reason) != self._away:
            self._away = bool(reason)
            event = "mapping_paused" if reason else "mapping_resumed"
            (self._log.error if reason else self._log.info)(event, reason=reason or "Kafka is back")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)
