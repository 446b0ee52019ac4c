"""Follow what operators want of one mapping, and report it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ..control.store import Wanted
from ..model.partition import Claim
from ..model.status import MappingHealth


class OperatorWatch:
    """Knows whether an operator paused the mapping, or moved its offsets by a replay."""

    def __init__(self, wanted: Callable[[], Wanted], health: MappingHealth, mapping: str) -> None:
        self._wanted = wanted
        self._health = health
        self._reason = ""
        self._replay: int | None = None
        self._log = structlog.get_logger().bind(mapping=mapping)

    def follow(self, claims: dict[int, Claim]) -> bool:
        """Return whether the mapping is to be paused.  Call it once in each iteration.

        After a replay it empties `claims`, so that all partitions are claimed at the offsets that
        the replay has stored.
        """
        pause, replay = self._wanted()
        if replay != self._replay:
            if self._replay is not None:
                claims.clear()
                self._log.info("replay_followed", replay=replay)
            self._replay = replay
        self._follow_pause("" if pause is None else str(pause))
        return pause is not None

    def _follow_pause(self, reason: str) -> None:
        if reason:  # each time: a retry that succeeds reports the mapping as running
            self._health.paused(reason)
        elif self._reason:
            self._health.running()
        if reason != self._reason:
            self._reason = reason
            self._log.info("mapping_paused" if reason else "mapping_resumed", reason=reason)
