"""Repair differences as a batch run writes: same steps, conflict guard, origin and audit.

Only the source rows of findings are read and written, so other rows of the target do not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from ..batch.chunk_writer import ChunkWriter, WrittenChunk
from ..batch.deletions import SeenKeys
from ..batch.keys import Key
from ..batch.missing_rows import FindMissing, MissingRows
from ..batch.plan import BatchPipeline
from ..batch.report import Report as BatchReport
from ..batch.snapshot import Snapshot, open_source, take_snapshot
from ..model.batch import Batch
from ..model.changes import Change, Write
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
        self._seen = SeenKeys(batch.deletions.keys)
        """The keys that the mapping's query has returned."""
        self.notes: list[str] = []

    def repair(self, found: Sequence[Suspect]) -> list[Suspect]:
        """Repair what can be repaired; return it (in a dry run, what would be repaired)."""
        wanted = [suspect for suspect in found if self._is_repairable(suspect)]
        if not wanted:
            return []
        before, writer = len(self.notes), ChunkWriter(self._batch)
        with closing(open_source(self._batch.source_dsn, self._batch.name)) as reader:
            snapshot = self._take_snapshot(reader)
            changed = self._write(reader, snapshot, writer, wanted)
        changed |= self._remove(snapshot, [s for s in wanted if s.change is None])
        if self._dry_run:
            return [suspect for suspect in wanted if suspect.texts in changed]
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

    def _write(
        self, reader: Connection, snapshot: Snapshot, writer: ChunkWriter, wanted: Sequence[Suspect]
    ) -> set[Key]:
        """Write the source rows of the snapshot; return the target keys that were written."""
        batch, done, keys = self._batch, set[Key](), {suspect.texts for suspect in wanted}
        read = self._read if batch.mapping.query is None else self._read_query
        for messages in read(reader, snapshot, wanted):
            chunk = batch.pipeline.prepare(messages)
            if batch.mapping.query is not None:
                chunk = self._select(chunk, keys)
            written = batch.retry(partial(self._write_chunk, writer, chunk))
            changes: list[Change] = [*written.removals, *written.writes]
            done.update(map(_as_texts, changes))
        return done

    def _write_chunk(
        self,
        writer: ChunkWriter,
        chunk: Batch,
        _again: bool,  # noqa: FBT001 - a Retrier's
    ) -> WrittenChunk:
        write = partial(writer.write, chunk=chunk)
        return self._batch.committer.transact(write, dry=self._dry_run)

    def _read(
        self, reader: Connection, snapshot: Snapshot, wanted: Sequence[Suspect]
    ) -> Iterator[list[Message]]:
        """Yield the current source rows of the suspects."""
        batch, rows = self._batch, self._batch.source.format
        head = rows.head(snapshot.place.position, snapshot.at)
        sources = {s.change.source.key: s.change.source for s in wanted if s.change is not None}
        for part in portions(sources.values(), byte_size, batch.chunk_bytes, batch.chunk_rows):
            with closing(batch.source.read_keys(reader, list(map(rows.key_of, part)))) as lines:
                yield [rows.message(head, line, n) for n, line in enumerate(lines)]

    def _read_query(
        self, reader: Connection, snapshot: Snapshot, _wanted: Sequence[Suspect]
    ) -> Iterator[list[Message]]:
        """Yield all rows of the mapping's query, which cannot select single ones."""
        batch, rows = self._batch, self._batch.source.format
        head = rows.head(snapshot.place.position, snapshot.at)
        with closing(batch.source.lines(reader, "true")) as lines:
            for part in portions(lines, len, batch.chunk_bytes, batch.chunk_rows):
                yield [rows.message(head, line, n) for n, line in enumerate(part)]

    def _select(self, chunk: Batch, keys: set[Key]) -> Batch:
        """Return the changes of these keys, and note the keys that the query returned."""
        writes = [change for change in chunk.changes if isinstance(change, Write)]
        self._batch.committer.ask(partial(self._seen.add, writes=writes))
        changes = [change for change in chunk.changes if _as_texts(change) in keys]
        return replace(chunk, changes=changes, dead_letters=[])

    # -- keys that only the target has -----------------------------------------------------------

    def _remove(self, snapshot: Snapshot, extra: Sequence[Suspect]) -> set[Key]:
        """Remove keys that the source still lacks, by `on_remove`; return them."""
        if not extra:
            return set()
        batch = self._batch
        report = BatchReport(mapping=batch.name, mode="repair", dry_run=self._dry_run)
        missing = MissingRows(batch, report, snapshot.place.position, lambda: True)
        find_missing: FindMissing | None = batch.deletions.find_missing
        if batch.mapping.query is not None:
            find_missing = self._seen.missing
        if find_missing is None:
            self.notes.append("extra rows were not removed: run `sink-runner batch --full`")
            return set()
        for part in portions(extra, lambda s: s.size, batch.chunk_bytes, batch.chunk_rows):
            missing.remove_keys([suspect.texts for suspect in part], find_missing)
        return set() if report.counts["unretired"] else {suspect.texts for suspect in extra}


def _as_texts(change: Change) -> Key:
    return tuple(map(str, change.key))
