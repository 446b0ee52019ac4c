"""Run a batch: read the source's rows, write them to the target, count each by its outcome."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any

import psycopg

from ..dlq.retry_queue import replay_rows
from ..errors import SinkError, WaitingError
from ..model.batch import Batch
from ..model.changes import Change, Removal, Write
from ..model.dead_letter import DeadLetter
from ..model.message import ROWS, Message
from ..model.portions import first_portion, portions
from ..postgres.error_classes import classify_error
from ..writer.committer import Connection
from .checks import SAMPLE, FieldCheck, Sample
from .chunk_writer import ChunkWriter, WrittenChunk
from .deletions import SeenKeys
from .lock import TargetLock
from .missing_rows import MissingRows
from .plan import BatchPipeline, Options, Plan, Planner
from .progress import Progress
from .report import Report
from .snapshot import Snapshot, open_source


class BatchRun:
    """Runs once.  Raises RetriableError, after which another run resumes where this one stopped."""

    def __init__(
        self, batch: BatchPipeline, options: Options, lock: TargetLock, progress: Progress
    ) -> None:
        self._batch = batch
        self._pipeline = batch.pipeline
        self._committer = batch.pipeline.committer
        self._options = options
        self._lock = lock
        self._progress = progress
        self._report = Report(mapping=batch.name, mode=options.mode, dry_run=options.dry_run)
        self._seen = SeenKeys(batch.deletions.keys)
        self._sample = Sample(max_bytes=batch.chunk_bytes)
        self._run = 0
        self._next_number = 0

    def run(self) -> Report:
        batch, hooks = self._batch, self._pipeline.compiled.hooks
        began = time.monotonic()
        try:
            hooks.startup()
            with closing(open_source(batch.source_dsn, batch.name)) as reader:
                self._read_and_write(reader)
        except BaseException as fault:
            self._mark_failed()
            if isinstance(fault, psycopg.Error):
                raise classify_error(fault) from fault
            raise
        finally:
            self._committer.session.close()
            hooks.shutdown()
        self._report.seconds = time.monotonic() - began
        return self._report

    def _mark_failed(self) -> None:
        """Let the metrics show the end now: otherwise only the next run marks this one."""
        mark = partial(self._batch.run_store.mark_failed, run=self._run)
        with suppress(psycopg.Error, SinkError):
            self._committer.ask(mark)

    def _read_and_write(self, reader: Connection) -> None:
        batch = self._batch
        writer = ChunkWriter(batch)
        plan = Planner(batch, self._options, self._report, self._progress).plan(reader)
        self._run = plan.run
        self._committer.audit_run(plan.run)
        self._replay()
        self._read(reader, plan, writer)
        if not batch.stop.is_set() and plan.resumed is None:
            found = batch.source.count(reader, plan.condition, plan.since)
            self._report.checks["source_rows"] = found
        reader.execute("COMMIT")
        if batch.stop.is_set():
            self._report.interrupted = True
        else:
            self._replay(note_keys=batch.mapping.query is not None)
            self._remove_missing(plan)
            self._report.interrupted = batch.stop.is_set()  # some missing rows may remain
            self._check(reader, plan)
        if not self._options.dry_run:
            self._committer.ask(self._finish)

    # -- reading and writing ---------------------------------------------------------------------

    def _read(self, reader: Connection, plan: Plan, writer: ChunkWriter) -> None:
        after = plan.resumed.last_key if plan.resumed else None
        lines = self._batch.source.lines(reader, plan.condition, plan.since, after or ())
        with closing(lines):
            for messages in self._chunks(lines, plan.snapshot):
                self._lock.check()
                self._batch.retry(partial(self._write_chunk, writer, messages))
                self._progress.advance(len(messages))
                if self._batch.stop.is_set():
                    return

    def _chunks(self, lines: Iterator[bytes], snapshot: Snapshot) -> Iterator[list[Message]]:
        batch, rows = self._batch, self._batch.source.format
        head = rows.head(snapshot.place.position, snapshot.at)
        for chunk in portions(lines, len, batch.chunk_bytes, batch.chunk_rows):
            numbers = range(self._next_number, self._next_number + len(chunk))
            self._next_number = numbers.stop
            yield [rows.message(head, line, n) for n, line in zip(numbers, chunk, strict=True)]

    def _write_chunk(
        self,
        writer: ChunkWriter,
        messages: Sequence[Message],
        again: bool,  # noqa: FBT001 - a Retrier's
    ) -> None:
        """Map and write a chunk of rows, unless an earlier attempt was committed."""
        if again and self._is_committed(messages):
            return
        self._follow_policies()
        hooks, retry_queue = self._pipeline.compiled.hooks, self._pipeline.retry_queue
        free, held = retry_queue.split(messages)
        chunk = self._pipeline.prepare(free)
        retry_queue.hold(chunk, held)
        written, counts = self._committer.transact(
            partial(self._write, writer, chunk, messages), dry=self._options.dry_run
        )
        self._sample.add(written.writes)  # after the commit, because it may fail
        if not self._options.dry_run:
            retry_queue.record_committed(written.dead_letters, chunk.superseding)
        self._report.counts.update(counts)
        self._report.note_failures(written.dead_letters, hooks, self._pipeline.event_of)
        hooks.committed(len(chunk.changes))

    def _follow_policies(self) -> None:
        """Mask the next rows by the current policies, which may change during a long run."""
        if self._batch.refresh():
            # Sampled rows that earlier policies masked would be reported as different.
            self._sample = Sample(max_bytes=self._batch.chunk_bytes)
            self._report.notes.append(
                "the masking policies changed during the run: rows written before are masked by "
                f"the earlier ones; run `sink-runner batch {self._batch.name} --full` to mask "
                "them again"
            )

    def _is_committed(self, messages: Sequence[Message]) -> bool:
        """Return whether an earlier attempt was committed although its answer was lost.

        Without a key the run store cannot show it; then the rows are written again.
        """
        if self._options.dry_run or messages[-1].key is None:
            return False
        reached = partial(self._batch.run_store.reached, run=self._run)
        last, counts = self._committer.ask(reached)
        if last != self._batch.source.format.key_of(messages[-1]):
            return False
        self._report.counts = Counter(counts)
        self._pipeline.retry_queue.load({ROWS})
        return True

    def _write(
        self,
        writer: ChunkWriter,
        chunk: Batch,
        messages: Sequence[Message],
        connection: Connection,
    ) -> tuple[WrittenChunk, dict[str, int]]:
        """Write a chunk and store the progress; return what was written, and counts by outcome."""
        written = writer.write(connection, chunk, self._key_range(messages))
        if self._batch.mapping.query is not None:
            self._seen.add(connection, written.writes)
        counts = _count_outcomes(chunk, messages, written.dead_letters)
        counts |= {"written": written.rows, "removed": written.removed, "stale": written.stale}
        self._store_progress(connection, messages, counts)
        return written, counts

    def _store_progress(
        self, connection: Connection, messages: Sequence[Message], counts: Mapping[str, int]
    ) -> None:
        if not self._options.dry_run and messages[-1].key is not None:
            total = self._report.counts.copy()
            total.update(counts)
            last = self._batch.source.format.key_of(messages[-1])
            self._batch.run_store.progress(connection, self._run, last, total)

    def _key_range(self, messages: Sequence[Message]) -> dict[str, Any] | None:
        """Return the first and last key of a chunk; None if they do not identify its rows.

        A query's rows and hashed keys have no order.
        """
        if not self._batch.is_key_shown or messages[-1].key is None:
            return None
        ends, rows = (messages[0], messages[-1]), self._batch.source.format
        return {"source_keys": [",".join(rows.key_of(message)) for message in ends]}

    def _replay(self, *, note_keys: bool = False) -> None:
        """Retry the deferred rows of earlier runs and of this one.

        `note_keys`: note their keys as seen, so that these rows are not removed as missing.
        """
        if self._options.dry_run:
            return
        last: list[Write] = []

        def prepare(messages: Sequence[Message]) -> Batch:
            self._note_seen(last)
            self._follow_policies()
            chunk = self._pipeline.prepare(messages)
            last[:] = [one for one in chunk.changes if isinstance(one, Write) and note_keys]
            return chunk

        done = self._batch.retry(lambda _again: replay_rows(self._pipeline.retry_queue, prepare))
        self._note_seen(last)
        self._report.counts["replayed"] += done["replayed"]

    def _note_seen(self, writes: Sequence[Write]) -> None:
        """Note the keys of replayed rows, after their commit, as the target formats them."""
        if writes:
            self._committer.ask(partial(self._seen.add, writes=writes))

    # -- the end ---------------------------------------------------------------------------------

    def _remove_missing(self, plan: Plan) -> None:
        position = plan.snapshot.place.position
        missing = MissingRows(self._batch, self._report, position, self._keys_are_kept)
        missing.remove(self._seen, full=self._options.full, before_each=self._lock.check)

    def _keys_are_kept(self) -> bool:
        """Return whether the rows just written have the same keys in source and target."""
        writes = self._sample.writes
        if not writes:  # the source has no rows, or the interrupted run read all of them
            return not self._batch.may_change_keys
        return self._batch.deletions.finds(writes)

    def _check(self, reader: Connection, plan: Plan) -> None:
        """Compare some rows with the source, unless plugins decide what is written."""
        batch = self._batch
        if self._options.dry_run or self._report.interrupted or not batch.is_declared:
            return
        writes = self._sample.writes
        if not writes and self._report.counts["carried"]:
            writes = self._first_rows(reader, plan)
        check = FieldCheck(batch.mapping, batch.deletions.keys)
        fresh = partial(batch.deletions.read_again, writes)
        self._report.checks["fields"] = check.run(fresh, self._committer.ask)

    def _first_rows(self, reader: Connection, plan: Plan) -> list[Write]:
        """Return the writes of the source's first rows, which an interrupted run has written."""
        source, rows = self._batch.source, self._batch.source.format
        head = rows.head(plan.snapshot.place.position, plan.snapshot.at)
        with closing(source.lines(reader, plan.condition, plan.since, most=SAMPLE)) as lines:
            first = first_portion(lines, len, self._batch.chunk_bytes)
            messages = [rows.message(head, line, n) for n, line in enumerate(first)]
        changes = self._pipeline.prepare(messages).changes
        return [change for change in changes if isinstance(change, Write)]

    def _finish(self, connection: Connection) -> None:
        report = self._report
        outcome = "interrupted" if report.interrupted else "done"
        self._batch.run_store.finish(connection, self._run, outcome, report.counts, report.checks)


def _count_outcomes(
    chunk: Batch, messages: Sequence[Message], dead_letters: Sequence[DeadLetter]
) -> dict[str, int]:
    """Return the number of rows by outcome."""
    waiting = {
        id(dead_letter.message)
        for dead_letter in dead_letters
        if isinstance(dead_letter.error, WaitingError)
    }
    failed = {id(dead_letter.message) for dead_letter in dead_letters} - waiting
    carried = _sources(chunk.changes, Write) - failed - waiting
    removed = _sources(chunk.changes, Removal) - carried - failed - waiting
    return {
        "read": len(messages),
        "carried": len(carried),
        "retired": len(removed),
        "parked": len(waiting),
        "failed": len(failed),
        "dropped": chunk.counts.total(),
    }


def _sources(changes: Sequence[Change], kind: type[Change]) -> set[int]:
    return {id(change.source) for change in changes if isinstance(change, kind)}
