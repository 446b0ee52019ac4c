"""Detect that Kafka is unavailable, which a polling client sees as no new records."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from ..error_text import text_of
from ..errors import RetriableError
from ..model.status import MappingHealth
from .feed import Feed

SILENCE_SECONDS = 10.0
"""Seconds without a record after which the broker is pinged."""


class BrokerLiveness:
    """Reports one mapping as paused while Kafka does not answer.

    The worker goes on polling, which is how the client reconnects.
    """

    def __init__(
        self,
        health: MappingHealth,
        seconds: float = SILENCE_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._health = health
        self._seconds = seconds
        self._clock = clock
        self._heard = clock()
        self._away = False
        self._log = structlog.get_logger().bind(mapping=health.name)

    def observe(self, feed: Feed, *, received: bool) -> None:
        """Call it after each poll of the feed; `received` says whether a record came."""
        if received or self._clock() - self._heard >= self._seconds:
            self._report(None if received else _ping(feed))
            self._heard = self._clock()

    def _report(self, fault: RetriableError | None) -> None:
        reason = "" if fault is None else text_of(fault)
        if reason:
            self._health.paused(reason, fault, self._seconds)
        elif self._away:
            self._health.running()
        if bool(reason) != self._away:
            self._away = bool(reason)
            event = "mapping_paused" if reason else "mapping_resumed"
            (self._log.error if reason else self._log.info)(event, reason=reason or "Kafka is back")


def _ping(feed: Feed) -> RetriableError | None:
    """Return why Kafka does not answer; None if it does."""
    try:
        feed.ping()
    except RetriableError as fault:
        return fault
    return None
