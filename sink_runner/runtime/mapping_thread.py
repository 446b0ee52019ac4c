"""Run one mapping in a thread, so that its errors do not end the others."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from ..error_text import text_of
from ..errors import ConfigError, DowngradeError, FatalError, RetriableError, class_name
from ..model.status import MappingHealth

RECHECK_SECONDS = 60.0
"""How long a quarantined mapping waits before it is built again."""
STALL_SECONDS = 300.0
"""After this time without a poll Kafka assigns the partitions to another member of the group."""
_STALL = "a step of a plugin, or a write, does not return: the log says where it is"


class Work(Protocol):
    """A mapping's worker."""

    @property
    def counts(self) -> Any: ...

    @property
    def turned(self) -> float:
        """When its loop last began an iteration, by the monotonic clock."""

    def run(self) -> None: ...

    def cancel(self) -> None: ...


class MappingThread(threading.Thread):
    """Builds a mapping's worker and runs it until `stop` is set.

    A ConfigError, or a RetriableError that ends the worker, quarantines the mapping: the worker is
    built again every `recheck_seconds`, because a GRANT, a new topic or an ALTER TABLE may remove
    the cause without a restart.  A FatalError, a DowngradeError or an unexpected exception stops
    the mapping until the process is restarted.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Work | None],
        health: MappingHealth,
        stop: threading.Event,
        *,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        """`build` returns None if `stop` was set before the worker was complete."""
        super().__init__(name=name, daemon=True)
        self._build = build
        self._health = health
        self._stop_event = stop
        self._recheck_seconds = recheck_seconds
        self._work: Work | None = None
        self._reason = ""
        self._stalled = False
        self._log = structlog.get_logger().bind(mapping=name)
        self.failed = False
        """Whether the mapping is stopped or quarantined."""

    def run(self) -> None:
        while True:
            try:
                self._build_and_run()
            except (FatalError, DowngradeError) as fault:
                self._mark_stopped(text_of(fault), fault)
                self._log.error("mapping_stopped", reason=text_of(fault))
                return
            except (ConfigError, RetriableError) as fault:
                self._quarantine(fault)
            except BaseException as fault:  # noqa: BLE001 - SystemExit would end the thread silently
                reason = (
                    f"unexpected {class_name(fault)}: this is a bug of the runner or of a "
                    "plugin; the log holds where it was raised"
                )
                self._mark_stopped(reason, fault)
                self._log.exception("mapping_stopped", reason=reason)
                return
            else:
                return
            if self._stop_event.wait(self._recheck_seconds):
                return

    def cancel(self) -> None:
        """Roll back what is being written, from another thread, after `stop` was set."""
        if self._work is not None:
            self._work.cancel()

    def check_progress(self, stall_seconds: float = STALL_SECONDS) -> None:
        """Report the mapping as paused while its loop has been in one iteration for too long."""
        work = self._work
        seconds = 0.0 if work is None else time.monotonic() - work.turned
        if seconds <= stall_seconds:
            if self._stalled:
                self._stalled = False
                if self._health.resumed(_STALL):
                    self._log.info("mapping_resumed")
        elif self._health.is_running():
            self._stalled = True
            self._health.paused(_STALL)
            self._log.error(
                "mapping_stalled", reason=_STALL, seconds=round(seconds), stacks=self._stacks()
            )

    def _stacks(self) -> list[list[str]]:
        """Return the stacks of the mapping's threads, without values."""
        frames = sys._current_frames()  # noqa: SLF001 - documented in spite of its name
        names = (self.name, f"write-{self.name}_0")
        return [
            [f"{f.filename}:{f.lineno}:{f.name}" for f in traceback.extract_stack(frames[t.ident])]
            for t in threading.enumerate()
            if t.name in names and t.ident in frames
        ]

    def _build_and_run(self) -> None:
        work = self._build()
        if work is None:
            return
        self._work = work
        if self.failed:
            self.failed, self._reason = False, ""
            self._log.info("mapping_released")
        self._log.info("mapping_started")
        self._health.running()
        try:
            work.run()
        finally:
            self._work = None
        self._log.info("mapping_finished", **work.counts)

    def _quarantine(self, fault: ConfigError | RetriableError) -> None:
        self.failed, reason = True, text_of(fault)
        self._health.quarantined(reason, fault, self._recheck_seconds)
        if reason != self._reason:  # the same cause is logged once, not with every attempt
            self._reason = reason
            self._log.error("mapping_quarantined", reason=reason)

    def _mark_stopped(self, reason: str, fault: BaseException) -> None:
        self.failed = True
        self._health.stopped(reason, fault)
