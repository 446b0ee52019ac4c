"""Follow the pause of one mapping, and report it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from ..model.status import MappingHealth


class PauseWatch:
    """Knows whether an operator paused the mapping."""

    def __init__(
        self, pause: Callable[[], object | None], health: MappingHealth, mapping: str
    ) -> None:
        """`pause` returns what the operator said; None: the mapping is to run."""
        self._pause = pause
        self._health = health
        self._reason = ""
        self._log = structlog.get_logger().bind(mapping=mapping)

    def follow(self) -> bool:
        """Return whether the mapping is to be paused.  Call it once in each iteration."""
        pause = self._pause()
        reason = "" if pause is None else str(pause)
        if reason:  # each time: a retry that succeeds reports the mapping as running
            self._health.paused(reason)
        elif self._reason:
            self._health.running()
        if reason != self._reason:
            self._reason = reason
            self._log.info("mapping_paused" if reason else "mapping_resumed", reason=reason)
        return bool(reason)
