"""Write mapped source rows in a transaction of the target, for batch runs and for repairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..model.batch import Batch
from ..model.changes import Change, Removal, Write
from ..model.dead_letter import DeadLetter
from ..model.outcome import Outcome
from ..writer.committer import Connection
from .plan import BatchPipeline


class WrittenChunk(NamedTuple):
    """What was done with a chunk."""

    rows: int
    removed: int
    stale: int
    writes: list[Write]
    """The writes that did not fail."""
    removals: list[Removal]
    dead_letters: list[DeadLetter]


class ChunkWriter:
    """Writes chunks whose rows were all read in one snapshot."""

    def __init__(self, batch: BatchPipeline) -> None:
        """Create it before the snapshot is taken: it notes which events are applied by then."""
        self._batch = batch
        self._applied = batch.committer.ask(batch.run_store.applied)

    def write(
        self, connection: Connection, chunk: Batch, read: dict[str, Any] | None = None
    ) -> WrittenChunk:
        """Write a chunk; `read` is what the audit log notes about the rows that were read."""
        deletions, committer = self._batch.deletions, self._batch.committer
        dead_letters = list(chunk.dead_letters)
        writes = [change for change in chunk.changes if isinstance(change, Write)]
        removals = [change for change in chunk.changes if isinstance(change, Removal)]
        removals = deletions.confirm(connection, removals, writes)
        writes = self._reread_if_stale(connection, writes)
        removed = committer.write(connection, removals, dead_letters).rows
        stale = committer.outcomes[Outcome.STALE]
        rows, changes = committer.write(connection, writes, dead_letters)
        stale += committer.outcomes[Outcome.STALE]
        done: list[Change] = [*removals, *changes]
        committer.store(connection, chunk, done, dead_letters, written=removed + rows, read=read)
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        written = [w for w in changes if isinstance(w, Write) and id(w.source) not in failed]
        deletions.note_written(connection, [*removals, *written])
        if callbacks := committer.callbacks:  # the source table has these rows now
            callbacks.forget(connection, [write.key for write in written])
        return WrittenChunk(rows, removed, stale, written, removals, dead_letters)

    def _reread_if_stale(self, connection: Connection, writes: Sequence[Write]) -> list[Write]:
        """Return the writes, from rows read again if an event was applied since the snapshot.

        The event may be later than the snapshot's row and have the same version.
        """
        batch = self._batch
        if not batch.has_ties or batch.run_store.applied(connection) == self._applied:
            return list(writes)
        now = {write.key: write for write in batch.deletions.read_again(writes)}
        return [now[w.key]._replace(source=w.source) for w in writes if w.key in now]
