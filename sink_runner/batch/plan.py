"""Plan a run: which rows it reads, and from which key it resumes an interrupted one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ..config.dsn import Dsn
from ..model.batch import Batch
from ..model.message import Message
from ..openlineage.events import Datasets
from ..pipeline import Pipeline
from ..plugin import Strategy, TableMapping
from ..retry import Retrier
from ..writer.committer import Committer, Connection
from ..writer.derivation import Derivation
from .deletions import Deletions
from .progress import Progress
from .report import Report
from .run_store import Run, RunStore
from .snapshot import Snapshot, changed_since, take_snapshot
from .source import Source

FULL, CHANGED = "full", "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run."""

    full: bool = False
    since: datetime | None = None
    """Naive, UTC; so is `until`."""
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
    """The pipeline of a batch run, with the sessions, stores and settings of such runs."""

    pipeline: Pipeline
    source: Source
    source_dsn: Dsn
    as_events: Callable[[Sequence[Message]], Batch]
    """Transforms source rows as if they were events, which a filter may treat differently."""
    deletions: Deletions
    beside: Sequence[str]
    """Other mappings that write the target, whose rows cannot be distinguished from this one's."""
    derivation: Derivation | None
    """How the target's rows are derived from candidates; None for a mapping without them."""
    run_store: RunStore
    refresh: Callable[[], bool]
    """Masks by the current policies from now on; returns whether they have changed."""
    chunk_rows: int
    chunk_bytes: int
    settle_seconds: float
    retry: Retrier
    stop: threading.Event
    describe: Callable[..., Datasets]
    """Returns the tables and columns that the mapping reads and writes, for lineage events."""

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def mapping(self) -> TableMapping:
        return self.pipeline.mapping

    @property
    def committer(self) -> Committer:
        return self.pipeline.committer

    @property
    def touch_orphans(self) -> str | None:
        """SQL that marks the target's groups without a candidate to be derived again."""
        return self.derivation.touch_orphans if self.derivation else None

    @property
    def is_declared(self) -> bool:
        """Whether the declaration alone decides what is written.

        Then no plugin resolves conflicts or writes, and no lookup reads the target.
        """
        compiled = self.pipeline.compiled
        return not (compiled.chain.decides_writes or compiled.route.reads_target)

    @property
    def is_key_shown(self) -> bool:
        """Whether the mapping writes all columns of the source's key unmasked."""
        unmasked = self.pipeline.compiled.unmasked
        columns = [column for column in self.mapping.columns if column.name in unmasked]
        return {name for column in columns for name in column.sources}.issuperset(
            self.source.format.key
        )

    @property
    def may_change_keys(self) -> bool:
        """Whether a hook gets whole rows, so that it might change a key."""
        chain = self.pipeline.compiled.chain
        return bool(chain.maps or chain.masks)

    @property
    def has_ties(self) -> bool:
        """Whether the target cannot order two rows with the same version."""
        return (
            self.mapping.streaming
            and self.mapping.conflict.strategy is Strategy.NEWEST_WINS
            and not self.pipeline.writer.keeps_positions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows to read."""

    run: int
    """Its number in the run store; 0 for a dry run."""
    snapshot: Snapshot
    condition: str
    since: str
    resumed: Run | None


class Planner:
    """Makes the plan of one run, and adds notes to the report."""

    def __init__(
        self, batch: BatchPipeline, options: Options, report: Report, progress: Progress
    ) -> None:
        self._batch = batch
        self._options = options
        self._report = report
        self._progress = progress

    def plan(self, reader: Connection) -> Plan:
        """Take a snapshot, which `reader` keeps, decide what to read, and store the run."""
        batch, options, run = self._batch, self._options, 0
        resumed = batch.committer.ask(batch.run_store.interrupted)
        previous = batch.committer.ask(batch.run_store.finished)
        snapshot = take_snapshot(
            reader,
            settle_seconds=batch.settle_seconds,
            earlier=lambda cluster: batch.committer.ask(
                partial(batch.run_store.log_places, cluster)
            ),
            stopped=batch.stop.is_set,
        )
        if not snapshot.settled:
            self._note(
                "a transaction of the source began before the run and is still open: the next run "
                "reads what it writes"
            )
        if resumed is not None and not self._can_resume(resumed, snapshot):
            resumed = None
        condition, since = self._condition(previous, snapshot)
        self._progress.expect(batch.source.estimate(reader, condition, since))
        if not options.dry_run:
            if previous is not None and previous.cluster != snapshot.cluster:
                self._note(
                    "the source is another cluster than in the last run, or was restored since"
                )
                batch.committer.ask(batch.run_store.forget_positions)
            run = batch.committer.ask(partial(self._store, resumed, snapshot))
        return Plan(
            run=run,
            snapshot=snapshot,
            condition=condition,
            since=since,
            resumed=resumed,
        )

    def _can_resume(self, run: Run, snapshot: Snapshot) -> bool:
        """Return whether that run had the same mode and columns, and stored its last key."""
        return (
            not self._options.dry_run
            and run.mode == self._options.mode
            and run.cluster == snapshot.cluster
            and run.columns == self._batch.source.format.number
            and bool(run.last_key)
        )

    def _condition(self, previous: Run | None, snapshot: Snapshot) -> tuple[str, str]:
        """Return the SQL condition on the rows to read, and the time since which they changed."""
        options, source = self._options, self._batch.source
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
            self._note("the changes since the last run cannot be determined: reads all rows")
            return "true", "-infinity"
        return changed, str(previous.snapshot_at)

    def _store(self, resumed: Run | None, snapshot: Snapshot, connection: Connection) -> int:
        run_store, number = self._batch.run_store, self._batch.source.format.number
        if resumed is None:
            return run_store.begin(connection, self._options.mode, number, snapshot)
        self._note("resumes an interrupted run of the same mode")
        self._report.counts.update(resumed.counts)
        self._progress.advance(resumed.counts.get("read", 0))
        return run_store.resume(connection, resumed, snapshot)

    def _note(self, text: str) -> None:
        self._report.notes.append(text)
