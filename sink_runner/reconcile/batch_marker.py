"""Find rows that the last batch run cannot have read, for a mapping without events."""

from __future__ import annotations

from collections.abc import Sequence

from ..batch.plan import BatchPipeline
from ..batch.snapshot import Connection, changed_since, take_snapshot
from .chunks import ChunkSize, read_chunks
from .suspect import Suspect


class BatchMarker:
    """Marks a row as pending if it changed after the last batch run began; the log is not used."""

    def __init__(self, batch: BatchPipeline, source: Connection, target: Connection) -> None:
        self._batch = batch
        self._source = source
        self._target = target

    def wait(self) -> str | None:
        if self._batch.run_store.finished(self._target) is not None:
            return None
        name = self._batch.name
        return f"no batch run of mapping {name!r} has finished: run `sink-runner batch {name}`"

    def unread(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those whose source rows were written after the last batch run began."""
        batch = self._batch
        last = batch.run_store.finished(self._target)
        now = take_snapshot(
            self._source, settle_seconds=0, earlier=lambda _: (), stopped=batch.stop.is_set
        )
        self._source.execute("COMMIT")
        if last is None or not batch.source.numbered:
            return []
        condition = changed_since(last.seen_before, now) or "true"
        wanted = {suspect.texts: suspect for suspect in suspects}
        found = dict[tuple[str, ...], Suspect]()
        since, size = str(last.snapshot_at), ChunkSize(batch.chunk_rows)
        for messages in read_chunks(batch, self._source, condition, since, size=size):
            for change in batch.pipeline.prepare(messages).changes:
                texts = tuple(map(str, change.key))
                if texts in wanted:
                    found[texts] = wanted[texts]
        return list(found.values())
