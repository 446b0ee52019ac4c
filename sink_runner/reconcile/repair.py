"""Repair differences as a batch run writes: same steps, conflict guard, origin and audit.

Only the source rows of findings are read and written, so other rows of the target do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from ..batch.missing_rows import MissingRows
from ..batch.plan import BatchPipeline
from ..batch.report import Report as BatchReport
from ..batch.snapshot import Snapshot, open_source, take_snapshot
from ..model.batch import Batch
from ..model.changes import Removal, Write
from ..model.message import Message
from ..model.portions import byte_size, portions
from ..plugin import Delete, SetColumns
from ..writer.committer import Connection
from .settlement import Settlement
from .suspect import Kind, Suspect

_NOT_REPAIRED = (
    "rows that were not repaired: the target has a later version, which the conflict rule keeps, "
    "or refuses the row: see `sink-runner dlq list` and `sink-runner conflicts list`"
)


class Repair:
    """Writes what is missing or differs, and removes what is extra if the mapping deletes."""

    def __init__(self, batch: BatchPipeline, settlement: Settlement, *, dry_run: bool) -> None:
        self._batch = batch
        self._settlement = settlement
        self._dry_run = dry_run
        self.notes: list[str] = []

    def repair(self, found: Sequence[Suspect]) -> list[Suspect]:
        """Repair what can be repaired; return it (in a dry run, what would be repaired)."""
        wanted = [suspect for suspect in found if self._is_repairable(suspect)]
        if not wanted:
            return []
        before = len(self.notes)
        with closing(open_source(self._batch.source_dsn, self._batch.name)) as reader:
            snapshot = self._take_snapshot(reader)
            written = self._write(reader, snapshot, wanted)
        written |= self._remove(snapshot, [s for s in wanted if s.change is None])
        if self._dry_run:
            return [suspect for suspect in wanted if id(suspect) in written]
        left = {suspect.texts for suspect in self._settlement.still_different(wanted)}
        if left and before == len(self.notes):
            self.notes.append(_NOT_REPAIRED)
        return [suspect for suspect in wanted if suspect.texts not in left]

    def _is_repairable(self, suspect: Suspect) -> bool:
        if suspect.kind is Kind.EXTRA:
            return isinstance(self._batch.mapping.on_remove, Delete | SetColumns)
        return suspect.kind in (Kind.MISSING, Kind.DIFFERENT)

    def _take_snapshot(self, reader: Connection) -> Snapshot:
        batch = self._batch
        return take_snapshot(
            reader,
            settle_seconds=batch.settle_seconds,
            earlier=lambda cluster: batch.committer.ask(
                partial(batch.run_store.log_places, cluster)
            ),
            stopped=batch.stop.is_set,
        )

    # -- source rows -----------------------------------------------------------------------------

    def _write(self, reader: Connection, snapshot: Snapshot, wanted: Sequence[Suspect]) -> set[int]:
        """Write the source rows of the snapshot; return the ids of the suspects written."""
        batch, rows, done = self._batch, self._batch.source.format, set[int]()
        by_key = {s.change.source.key: s for s in wanted if s.change is not None}
        head = rows.head(snapshot.place.position, snapshot.at)
        sources = [s.change.source for s in by_key.values() if s.change]
        for part in portions(sources, byte_size, batch.chunk_bytes, batch.chunk_rows):
            with closing(batch.source.read_keys(reader, list(map(rows.key_of, part)))) as lines:
                messages = [rows.message(head, line, n) for n, line in enumerate(lines)]
            for message in self._write_chunk(messages):
                if message.key in by_key:
                    done.add(id(by_key[message.key]))
        return done

    def _write_chunk(self, messages: Sequence[Message]) -> list[Message]:
        """Write a chunk in a transaction; return the rows that did not fail."""
        chunk = self._batch.pipeline.prepare(messages)
        write = partial(self._apply, chunk)
        return self._batch.retry(
            lambda _again: self._batch.committer.transact(write, dry=self._dry_run)
        )

    def _apply(self, chunk: Batch, connection: Connection) -> list[Message]:
        committer, deletions = self._batch.committer, self._batch.deletions
        dead_letters = list(chunk.dead_letters)
        writes = [change for change in chunk.changes if isinstance(change, Write)]
        removals = [change for change in chunk.changes if isinstance(change, Removal)]
        removals = deletions.confirm(connection, removals, writes)
        written, changes = committer.write(connection, [*removals, *writes], dead_letters)
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        applied = [change for change in changes if id(change.source) not in failed]
        deletions.note_written(connection, applied)
        committer.store(connection, chunk, changes, dead_letters, written=written)
        return [change.source for change in applied]

    # -- keys that only the target has -----------------------------------------------------------

    def _remove(self, snapshot: Snapshot, extra: Sequence[Suspect]) -> set[int]:
        """Remove keys that the source still lacks, by `on_remove`; return ids of their suspects."""
        if not extra:
            return set()
        batch = self._batch
        report = BatchReport(mapping=batch.name, mode="repair", dry_run=self._dry_run)
        missing = MissingRows(batch, report, snapshot.place.position, lambda: True)
        find_missing = batch.deletions.find_missing
        if find_missing is None:
            self.notes.append("extra rows were not removed: run `sink-runner batch --full`")
            return set()
        for part in portions(extra, lambda s: s.size, batch.chunk_bytes, batch.chunk_rows):
            keys = [suspect.texts for suspect in part]
            missing.remove_keys(keys, find_missing)
        return {id(suspect) for suspect in extra} if not report.counts["unretired"] else set()
