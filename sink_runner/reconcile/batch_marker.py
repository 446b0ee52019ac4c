"""Find rows that wait for the next batch run of their mapping."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ..batch.plan import BatchPipeline
from ..batch.snapshot import Connection, changed_since, take_snapshot
from ..config.sections import Scheduling
from ..model.changes import Write
from ..schedule.plans import next_start, plans_of
from .chunks import ChunkSize, read_chunks
from .log_marker import Marker
from .suspect import Suspect


def next_batch_run(batch: BatchPipeline, settings: Scheduling) -> datetime | None:
    """Return when the mapping's next batch run is scheduled; None if none is."""
    plans = plans_of({batch.name: batch.mapping}, settings)
    now = datetime.now(UTC)
    return min(
        (next_start(plan, None, settings, now) for plan in plans if not plan.reconciles),
        default=None,
    )


class HybridMarker:
    """Waits for a mapping's events, and finds the rows that these leave to its batch runs."""

    def __init__(self, batch: BatchPipeline, events: Marker, rows: BatchMarker) -> None:
        self._batch = batch
        self._events = events
        self._rows = rows

    def wait(self) -> str | None:
        return self._events.wait()

    def unread(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Return those that a filter drops as events, and that the last batch run did not read."""
        written = {s.change.source.key: s for s in suspects if isinstance(s.change, Write)}
        events = self._batch.as_events([s.change.source for s in written.values() if s.change])
        sources = [change.source for change in events.changes]
        sources += [dead_letter.message for dead_letter in events.dead_letters]
        for message in sources:
            written.pop(message.key, None)
        return self._rows.unread([*written.values()]) if written else []


class BatchMarker:
    """Finds the rows that changed after the last batch run began; the log is not used."""

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
        if last is None:
            return list(suspects)
        now = take_snapshot(
            self._source, settle_seconds=0, earlier=lambda _: (), stopped=batch.stop.is_set
        )
        self._source.execute("COMMIT")
        if not batch.source.numbered:
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
