"""Which rows a run reads: all, what has changed, or a time; from where one stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ..config.dsn import Dsn
from ..dlq.retry_queue import Waiting
from ..loading.hooks import Hooks
from ..plugin import TableMapping
from ..transform.route import Route
from ..writer.committer import Connection
from .applier import BatchApplier
from .deletions import Departures
from .progress import Progress
from .report import Report
from .run_store import Ledger, Run
from .snapshot import Snapshot, changed_since, take_snapshot
from .source import Source

FULL, CHANGED = "full", "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is asked to do."""

    full: bool = False
    since: datetime | None = None
    """UTC, like every time here."""
    until: datetime | None = None
    dry_run: bool = False

    @property
    def mode(self) -> str:
        if self.full:
            return FULL
        if self.since is None and self.until is None:
            return CHANGED
        return f"from {self.since or 'the beginning'} until {self.until or 'now'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPipeline:
    """What a run works with; made by `build`."""

    name: str
    mapping: TableMapping
    source: Source
    source_dsn: Dsn
    route: Route
    applier: BatchApplier
    waiting: Waiting
    departures: Departures
    declared: bool
    """No plugin resolves conflicts or writes, and no lookup reads the target: what a row comes to
    is all declared."""
    key_shown: bool
    """The source's key is nobody's: it may stand where people look."""
    maps_rows: bool
    """A plugin sees whole rows on their way and might change a key."""
    ties: bool
    """Nothing in the target tells which of two rows of the same version is the newer one."""
    beside: Sequence[str]
    """Other mappings that write the target, whose rows this one cannot tell from its own."""
    touch_orphans: str | None
    """SQL that notes the target's rows that come from no candidate."""
    ledger: Ledger
    hooks: Hooks
    refresh: Callable[[], bool]
    """Mask by the policies of now; tells whether they are others than before."""
    chunk_rows: int
    chunk_bytes: int
    settle_seconds: float
    retry_steps: Sequence[float]
    stop: threading.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows to read."""

    run: int
    """Its number in the ledger; 0 for a dry run."""
    snapshot: Snapshot
    condition: str
    since: str
    resumed: Run | None
    applied: list[str] | None
    """What `Ledger.applied` was before the snapshot."""


class Planner:
    """Makes the plan of one run and tells the report and the progress bar of it."""

    def __init__(
        self, tools: BatchPipeline, options: Options, report: Report, progress: Progress
    ) -> None:
        self._tools = tools
        self._options = options
        self._report = report
        self._progress = progress

    def plan(self, reader: Connection) -> Plan:
        """Decide, from a snapshot that `reader` holds from now on, and enter the run."""
        tools, options, run = self._tools, self._options, 0
        resumed = tools.applier.ask(tools.ledger.interrupted)
        previous = tools.applier.ask(tools.ledger.finished)
        applied = tools.applier.ask(tools.ledger.applied)
        snapshot = take_snapshot(
            reader,
            patience=tools.settle_seconds,
            earlier=lambda cluster: tools.applier.ask(partial(tools.ledger.places, cluster)),
            stopped=tools.stop.is_set,
        )
        if not snapshot.settled:
            self._note(
                "a transaction of the source goes on since before the run: what it wrote is for "
                "the next one"
            )
        if resumed is not None and not self._goes_on(resumed, snapshot):
            resumed = None
        condition, since = self._condition(previous, snapshot)
        self._progress.expect(tools.source.estimate(reader, condition, since))
        if not options.dry_run:
            if previous is not None and previous.cluster != snapshot.cluster:
                self._note("the source is another cluster, or was restored, since the last run")
                tools.applier.ask(tools.ledger.forget_positions)
            run = tools.applier.ask(partial(self._enter, resumed, snapshot))
        return Plan(
            run=run,
            snapshot=snapshot,
            condition=condition,
            since=since,
            resumed=resumed,
            applied=applied,
        )

    def _goes_on(self, run: Run, snapshot: Snapshot) -> bool:
        """Was that run to do the same, of the same rows, and can it be told where it was?"""
        return (
            not self._options.dry_run
            and run.mode == self._options.mode
            and run.cluster == snapshot.cluster
            and run.columns == self._tools.source.format.number
            and bool(run.last_key)
        )

    def _condition(self, previous: Run | None, snapshot: Snapshot) -> tuple[str, str]:
        """The condition on a row, and since when it may have changed."""
        options, source = self._options, self._tools.source
        if options.mode == FULL:
            return "true", "-infinity"
        if options.mode != CHANGED:
            since = str(options.since or "-infinity")
            return source.between(options.since, options.until), since
        if previous is None:
            self._note("the first run reads all rows")
            return "true", "-infinity"
        changed = changed_since(previous.seen_before, snapshot)
        same = (previous.cluster, previous.columns) == (snapshot.cluster, source.format.number)
        if changed is None or not same or not source.numbered:
            self._note("what has changed can't be told from the last run: reads all rows")
            return "true", "-infinity"
        return changed, str(previous.snapshot_at)

    def _enter(self, resumed: Run | None, snapshot: Snapshot, connection: Connection) -> int:
        ledger, number = self._tools.ledger, self._tools.source.format.number
        if resumed is None:
            return ledger.begin(connection, self._options.mode, number, snapshot)
        self._note("goes on where an interrupted run of the same kind stopped")
        self._report.counts.update(resumed.counts)
        self._progress.advance(resumed.counts.get("read", 0))
        return ledger.resume(connection, resumed, snapshot)

    def _note(self, text: str) -> None:
        self._report.notes.append(text)
