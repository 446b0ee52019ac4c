"""Start reconciliations from the console, as processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog
from pydantic import Field

from ..control.routes import Action, ActionResult
from ..schedule.child import Child
from .models import ReconcileRun

Start = Callable[[Iterable[str]], Child]
"""Starts a command of `sink-runner` with this service's configuration."""


class ReconcileAction(Action):
    full: bool = Field(default=False, description="Compare every row, and all keys of the target.")
    repair: bool = Field(default=False, description="Write what differs, and remove extra rows.")


@dataclass(frozen=True)
class Reconciler:
    """Runs at most one reconciliation of each mapping; what it finds is in the target database."""

    start: Start
    _children: dict[str, Child] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def act(
        self, name: str, action: ReconcileAction, last: ReconcileRun | None, user: str
    ) -> ActionResult:
        """Answer the plan; start it unless it is a dry run."""
        words = ["reconcile", name]
        words += ["--full"] if action.full else []
        words += ["--repair"] if action.repair else []
        result = None if action.dry_run else self._run(name, words, user)
        command = " ".join(["sink-runner", *words])
        return ActionResult(plan=[*_plan(action, last)], command=command, result=result)

    def _run(self, name: str, words: list[str], user: str) -> str:
        with self._lock:
            known = self._children.get(name)
            if known is not None and known.poll() is None:
                return "is being reconciled already"
            structlog.get_logger().info("reconciliation_requested", mapping=name, user=user)
            self._children[name] = self.start([*words, "--json"])
        return "reconciliation started; its result will be listed under Reconciliation"


def _plan(action: ReconcileAction, last: ReconcileRun | None) -> Iterator[str]:
    full, changed = "every row and all keys of the target", "what changed since it was equal"
    rows = full if action.full else changed
    yield f"compares {rows}, through the mapping and its masks; no value leaves the databases"
    if last is not None:
        found = ", ".join(
            f"{last.counts[kind]:,} {kind}"
            for kind in ("missing", "extra", "different")
            if last.counts.get(kind)
        )
        yield f"the last run, at {last.started:%Y-%m-%d %H:%M:%S} UTC, was {last.outcome}" + (
            f": {found}" if found else ""
        )
    if action.repair:
        yield "writes rows that are missing or differ, and removes extra ones, as a batch run does"
        yield "not reversible: the target keeps no earlier values"
    else:
        yield "writes nothing but its report"
