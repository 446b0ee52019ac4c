"""One run of a mapping's batch form: read, carry through the chain, write, and account for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any, TypeVar

import psycopg

from ..dlq.retry_queue import replay_rows
from ..errors import DecodeError, RetriableError, WaitingError
from ..model.batch import Batch
from ..model.changes import Change, Removal, Write
from ..model.dead_letter import DeadLetter
from ..model.envelope import Decoded
from ..model.message import ROWS, Message
from ..model.portions import first_portion, portions
from ..plugin import Event
from ..postgres.error_classes import classify_error
from ..writer.committer import Connection
from .checks import SAMPLE, FieldCheck, Sample
from .deletions import Seen
from .lock import TargetLock
from .plan import BatchPipeline, Options, Plan, Planner
from .progress import Progress
from .report import Report
from .retirement import Retirement
from .snapshot import Snapshot, open_source

T = TypeVar("T")


class BatchRun:
    """Runs once.  Raises RetriableError, after which another run goes on where this one was."""

    def __init__(
        self, tools: BatchPipeline, options: Options, lock: TargetLock, progress: Progress
    ) -> None:
        self._tools = tools
        self._options = options
        self._lock = lock
        self._progress = progress
        self._report = Report(mapping=tools.name, mode=options.mode, dry_run=options.dry_run)
        self._seen = Seen(tools.departures.keys)
        self._sample = Sample(max_bytes=tools.chunk_bytes)
        self._run = 0
        self._applied: list[str] | None = None
        self._number = 0

    def run(self) -> Report:
        tools = self._tools
        began = time.monotonic()
        try:
            tools.hooks.startup()
            with closing(open_source(tools.source_dsn, tools.name)) as reader:
                self._work(reader)
        except psycopg.Error as fault:
            raise classify_error(fault) from fault
        finally:
            tools.applier.close()
            tools.hooks.shutdown()
        self._report.seconds = time.monotonic() - began
        return self._report

    def _work(self, reader: Connection) -> None:
        tools = self._tools
        plan = Planner(tools, self._options, self._report, self._progress).plan(reader)
        self._run, self._applied = plan.run, plan.applied
        tools.applier.enter(plan.run)
        self._replay()
        self._read(reader, plan)
        if not tools.stop.is_set() and plan.resumed is None:
            found = tools.source.count(reader, plan.condition, plan.since)
            self._report.checks["source_rows"] = found
        reader.execute("COMMIT")
        if tools.stop.is_set():
            self._report.interrupted = True
        else:
            self._replay(see=self._tools.mapping.query is not None)
            place = plan.snapshot.place.position
            retirement = Retirement(tools, self._report, place, self._keys_tell)
            retirement.run(self._seen, full=self._options.full, before_each=self._lock.held)
            self._report.interrupted = tools.stop.is_set()  # perhaps not all that is gone has left
            self._check(reader, plan)
        self._finish()

    # -- reading and writing ---------------------------------------------------------------------

    def _read(self, reader: Connection, plan: Plan) -> None:
        tools = self._tools
        after = plan.resumed.last_key if plan.resumed else None
        lines = tools.source.lines(reader, plan.condition, plan.since, after or ())
        with closing(lines):
            for messages in self._chunks(lines, plan.snapshot):
                self._lock.held()
                self._retry(partial(self._chunk, messages, count()))
                self._progress.advance(len(messages))
                if tools.stop.is_set():
                    return

    def _chunks(self, lines: Iterator[bytes], snapshot: Snapshot) -> Iterator[list[Message]]:
        form = self._tools.source.format
        head = form.head(snapshot.place.position, snapshot.at)
        tools = self._tools
        for chunk in portions(lines, len, tools.chunk_bytes, tools.chunk_rows):
            numbers = range(self._number, self._number + len(chunk))
            self._number = numbers.stop
            yield [form.message(head, line, n) for n, line in zip(numbers, chunk, strict=True)]

    def _chunk(self, messages: Sequence[Message], attempts: Iterator[int]) -> None:
        tools, options = self._tools, self._options
        if next(attempts) and self._is_committed(messages):
            return
        self._follow_policies()
        free, held = tools.waiting.split(messages)
        batch = self._prepare(free)
        tools.waiting.hold(batch, held)
        counts, dead_letters, landed = tools.applier.transact(
            partial(self._write, batch, messages), dry=options.dry_run
        )
        self._sample.add(landed)  # not before the commit, which may refuse them
        if not options.dry_run:
            tools.waiting.note(dead_letters, batch.superseding)
        self._report.counts.update(counts)
        self._report.note_failures(dead_letters, tools.hooks, self._event_of)
        tools.hooks.committed(len(batch.changes))

    def _follow_policies(self) -> None:
        """Mask what comes next by the policies of now; a run may take longer than they hold."""
        if self._tools.refresh():
            # What was written by the others would differ from what the source comes to now.
            self._sample = Sample(max_bytes=self._tools.chunk_bytes)
            self._report.notes.append(
                "the masking policies changed during the run: rows written before are masked by "
                f"the earlier ones; `sink-runner batch {self._tools.name} --full` masks them anew"
            )

    def _is_committed(self, messages: Sequence[Message]) -> bool:
        """Did an earlier attempt get through, and its answer alone was lost?

        Rows without a key leave no mark; such a run brings the same rows once more.
        """
        tools = self._tools
        if self._options.dry_run or messages[-1].key is None:
            return False
        last, counts = tools.applier.ask(partial(tools.ledger.reached, run=self._run))
        if last != tools.source.format.key_of(messages[-1]):
            return False
        self._report.counts = Counter(counts)
        tools.waiting.load({ROWS})
        return True

    def _prepare(self, messages: Sequence[Message]) -> Batch:
        """Decode rows and send them through the chain."""
        events: list[tuple[Message, Decoded]] = []
        dead_letters: list[DeadLetter] = []
        for message in messages:
            try:
                events.append((message, self._tools.source.format.decode(message.value)))
            except DecodeError as fault:
                dead_letters.append(DeadLetter(message, fault))
        batch = self._tools.route.apply(events)
        batch.dead_letters.extend(dead_letters)
        return batch

    def _event_of(self, message: Message) -> Event | None:
        """The event of a dead letter for hooks; None for a row that cannot be decoded."""
        try:
            decoded = self._tools.source.format.decode(message.value)
        except DecodeError:
            return None
        return self._tools.route.event_of(message, decoded)

    def _write(
        self, batch: Batch, messages: Sequence[Message], connection: Connection
    ) -> tuple[dict[str, int], list[DeadLetter], list[Write]]:
        """Write a chunk; return what became of its rows, the dead letters and what landed."""
        tools = self._tools
        dead_letters = list(batch.dead_letters)
        writes = [change for change in batch.changes if isinstance(change, Write)]
        leaves = [change for change in batch.changes if isinstance(change, Removal)]
        gone = tools.departures.confirmed(connection, leaves, writes, self._prepare)
        writes = self._current(connection, writes)
        removed = tools.applier.put(connection, gone, dead_letters).rows
        stale = tools.applier.stale
        written, made = tools.applier.put(connection, writes, dead_letters)
        stale += tools.applier.stale
        changes: list[Change] = [*gone, *made]
        read = self._place(messages)
        tools.applier.settle(connection, batch, dead_letters, changes, removed + written, read=read)
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        landed = [w for w in made if isinstance(w, Write) and id(w.source) not in failed]
        tools.departures.wrote(connection, [*gone, *landed])
        if callbacks := tools.applier.callbacks:  # what was read is in the table
            callbacks.forget(connection, [write.key for write in landed])
        if self._tools.mapping.query is not None:
            self._seen.add(connection, landed)
        counts = {
            **_fates(batch, messages, dead_letters),
            "written": written,
            "removed": removed,
            "stale": stale,
        }
        if not self._options.dry_run and messages[-1].key is not None:
            total = self._report.counts.copy()
            total.update(counts)
            last = tools.source.format.key_of(messages[-1])
            tools.ledger.progress(connection, self._run, last, total)
        return counts, dead_letters, landed

    def _current(self, connection: Connection, writes: list[Write]) -> list[Write]:
        """Read the rows again, as they are now, if an event was applied since the snapshot.

        The event may be later than what the snapshot has of the row, and of the same version.
        """
        tools = self._tools
        if not tools.ties or tools.ledger.applied(connection) == self._applied:
            return writes
        now = {write.key: write for write in tools.departures.again(writes, self._prepare)}
        return [now[w.key]._replace(source=w.source) for w in writes if w.key in now]

    def _place(self, messages: Sequence[Message]) -> dict[str, Any] | None:
        """From which key to which a chunk was read; None if that would not tell its rows.

        A query's rows come in no order, and between two fingerprints there is nothing.
        """
        if not self._tools.key_shown or messages[-1].key is None:
            return None
        ends = messages[0], messages[-1]
        form = self._tools.source.format
        return {"source_keys": [",".join(form.key_of(message)) for message in ends]}

    def _replay(self, *, see: bool = False) -> None:
        """What earlier runs deferred, and then this one: what it needs may have come.

        `see`: a row that waited while others were read is as little gone as they are.
        """
        if self._options.dry_run:
            return
        last: list[Write] = []

        def prepare(messages: Sequence[Message]) -> Batch:
            self._see(last)
            self._follow_policies()
            batch = self._prepare(messages)
            last[:] = [change for change in batch.changes if isinstance(change, Write) and see]
            return batch

        done = self._retry(partial(replay_rows, self._tools.waiting, prepare))
        self._see(last)
        self._report.counts["replayed"] += done["replayed"]

    def _see(self, writes: Sequence[Write]) -> None:
        """Note the rows of a round once it is committed: the target's row spells the key."""
        if writes:
            self._tools.applier.ask(partial(self._seen.add, writes=writes))

    # -- the end ---------------------------------------------------------------------------------

    def _keys_tell(self) -> bool:
        """Are the rows just written found in the source by their keys in the target?"""
        tools, writes = self._tools, self._sample.writes
        if not writes:  # all of them were read by the run that this one goes on with, or none is
            return not tools.maps_rows
        return tools.departures.tells(writes, self._prepare)

    def _check(self, reader: Connection, plan: Plan) -> None:
        """Compare some rows with the source, unless a plugin has a say in what is written."""
        tools = self._tools
        if self._options.dry_run or self._report.interrupted or not tools.declared:
            return
        writes = self._sample.writes
        if not writes and self._report.counts["carried"]:
            writes = self._first_rows(reader, plan)
        check = FieldCheck(tools.mapping, tools.departures.keys)
        fresh = partial(tools.departures.again, writes, self._prepare)
        self._report.checks["fields"] = check.run(fresh, tools.applier.ask)

    def _first_rows(self, reader: Connection, plan: Plan) -> list[Write]:
        """The first rows of the source, mapped: those that an interrupted run wrote."""
        form = self._tools.source.format
        head = form.head(plan.snapshot.place.position, plan.snapshot.at)
        with closing(
            self._tools.source.lines(reader, plan.condition, plan.since, most=SAMPLE)
        ) as lines:
            first = first_portion(lines, len, self._tools.chunk_bytes)
            messages = [form.message(head, line, n) for n, line in enumerate(first)]
        return [c for c in self._prepare(messages).changes if isinstance(c, Write)]

    def _finish(self) -> None:
        if not self._options.dry_run:
            self._tools.applier.ask(self._settle)

    def _settle(self, connection: Connection) -> None:
        report, ledger = self._report, self._tools.ledger
        outcome = "interrupted" if report.interrupted else "done"
        ledger.finish(connection, self._run, outcome, report.counts, report.checks)

    def _retry(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, retried once for each configured step."""
        for delay in self._tools.retry_steps:
            try:
                return work()
            except RetriableError:
                if self._tools.stop.wait(delay):
                    raise
        return work()


def _fates(
    batch: Batch, messages: Sequence[Message], dead_letters: Sequence[DeadLetter]
) -> dict[str, int]:
    """How many rows came to what."""
    waiting = {
        id(dead_letter.message)
        for dead_letter in dead_letters
        if isinstance(dead_letter.error, WaitingError)
    }
    failed = {id(dead_letter.message) for dead_letter in dead_letters} - waiting
    carried = _sources(batch.changes, Write) - failed - waiting
    retired = _sources(batch.changes, Removal) - carried - failed - waiting
    return {
        "read": len(messages),
        "carried": len(carried),
        "retired": len(retired),
        "parked": len(waiting),
        "failed": len(failed),
        "dropped": batch.counts["dropped"] + batch.counts["unchanged"] + batch.counts["echo"],
    }


def _sources(changes: Sequence[Change], kind: type[Change]) -> set[int]:
    return {id(change.source) for change in changes if isinstance(change, kind)}
