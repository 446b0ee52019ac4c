"""Reconcile one mapping: walk over its source, then over the keys of its target."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import psycopg

from ..batch.deletions import SeenKeys
from ..batch.missing_rows import FindMissing
from ..batch.progress import Progress
from ..batch.snapshot import Snapshot, changed_since, take_snapshot
from ..errors import WaitingError
from ..model.changes import Removal, Write
from ..model.message import Message
from ..plugin import Ignore, Review
from ..postgres.error_classes import classify_error
from .chunks import ChunkSize, RangeRows, read_chunks, read_range, sample_condition
from .digests import Bound, Digests, Range
from .options import Options
from .parts import Parts
from .report import Report
from .settlement import without
from .store import Run
from .suspect import Kind, Suspect, total_size

_MAX_SUSPECTS = 5_000
_MAX_SUSPECT_SECONDS = 60.0
_PROGRESS_SECONDS = 1.0


class Reconciliation:
    """Runs once.  Raises RetriableError, after which another run resumes where this one stopped."""

    def __init__(self, parts: Parts, options: Options, progress: Progress) -> None:
        self._parts = parts
        self._batch = parts.batch
        self._options = options
        self._progress = progress
        self._report = Report(
            mapping=parts.batch.name,
            mode=options.mode,
            repair=options.repair,
            dry_run=options.dry_run,
            next_batch_run=parts.next_batch_run,
        )
        self._size = ChunkSize(parts.batch.chunk_rows)
        self._suspects: list[Suspect] = []
        self._oldest_at = self._stored_at = 0.0
        self._run = 0
        self._seen = SeenKeys(parts.batch.deletions.keys)
        self._keys_kept = True
        """Whether no hook has changed a key."""
        self._has_surplus = False
        """Whether ranges of the target have more rows than the source results in."""
        self._is_resumed = False
        self._digests = parts.digests if options.covers_all else None

    def run(self) -> Report:
        hooks, began = self._batch.pipeline.compiled.hooks, time.monotonic()
        try:
            hooks.startup()
            self._walk()
        except psycopg.Error as fault:
            raise classify_error(fault) from fault
        finally:
            self._batch.committer.session.close()
            hooks.shutdown()
        self._report.seconds = time.monotonic() - began
        return self._report

    def _walk(self) -> None:
        snapshot = self._take_snapshot()
        resumed = self._resumable(snapshot)
        condition, since = self._condition(snapshot)
        store, number = self._parts.store, self._batch.source.format.number
        self._is_resumed = resumed is not None
        if resumed is None:
            self._run = store.begin(self._options.mode, number, snapshot)
        else:
            self._run = store.resume(resumed)
        phase, after = (resumed.phase, resumed.last_key) if resumed else ("source", None)
        if phase == "source" and self._digests and resumed is None:
            self._walk_ranges(self._digests)
        elif phase == "source":
            self._walk_source(condition, since, after or ())
        self._walk_target(after if phase == "target" else None)
        self._settle()
        self._walk_derived()
        self._report.interrupted = self._batch.stop.is_set()
        if self._options.covers_all and self._report.is_equal:
            waits = self._report.counts["waiting"]
            last = self._batch.run_store.finished(self._parts.control) if waits else None
            self._report.verified_through = store.advance(self._run, last)
        store.finish(self._run, self._report)

    # -- what is read ----------------------------------------------------------------------------

    def _take_snapshot(self) -> Snapshot:
        """Note where the run begins; its chunks are read in snapshots of their own."""
        batch, reader = self._batch, self._parts.reader
        snapshot = take_snapshot(
            reader,
            settle_seconds=batch.settle_seconds,
            earlier=lambda _cluster: (),
            stopped=batch.stop.is_set,
        )
        reader.execute("COMMIT")
        return snapshot

    def _resumable(self, snapshot: Snapshot) -> Run | None:
        """Return the interrupted run if it had the same mode and rows, with its counts."""
        run = self._parts.store.interrupted()
        if self._digests and not self._options.full:
            return None  # the run has stored the digests of the ranges that it has compared
        if run is None or not run.last_key or not self._options.covers_all:
            return None
        same = (run.mode, run.cluster, run.columns)
        if same != (self._options.mode, snapshot.cluster, self._batch.source.format.number):
            return None
        if run.phase == "source" and not self._batch.source.format.key:
            return None
        self._report.note("resumes an interrupted run of the same mode")
        self._report.counts.update(run.counts)
        self._report.columns.update(run.columns_differing)
        return run

    def _condition(self, snapshot: Snapshot) -> tuple[str, str]:
        """Return the SQL condition on the rows to read, and the time since which they changed."""
        options, source = self._options, self._batch.source
        condition, since = "true", "-infinity"
        if options.sample is not None:
            condition = sample_condition(source.format.key, options.sample)
        elif options.since is not None:
            condition, since = source.between(options.since, None), str(options.since)
        elif not options.full and self._digests is None:
            if changes := self._changes(snapshot):
                condition, since = changes
            else:
                self._report.note("no verified run to continue from: reads all rows")
        self._progress.expect(source.estimate(self._parts.reader, condition, since))
        return condition, since

    def _changes(self, snapshot: Snapshot) -> tuple[str, str] | None:
        """Return the condition on rows changed since the last verified run, and its time.

        None if there is no such run, or if the changes since then are not known.
        """
        verified, source = self._parts.store.verified(), self._batch.source
        same = (snapshot.cluster, source.format.number)
        if not (verified and source.numbered and same == (verified.cluster, verified.columns)):
            return None
        changed = changed_since(verified.seen_before, snapshot)
        return (changed, str(verified.verified_through.replace(tzinfo=None))) if changed else None

    # -- the source ------------------------------------------------------------------------------

    def _walk_source(self, condition: str, since: str, after: Sequence[str]) -> None:
        batch, reader = self._batch, self._parts.reader
        self._size.restart()
        for messages in read_chunks(batch, reader, condition, since, after, size=self._size):
            self._add_suspects(self._compare(messages)[0])
            self._progress.advance(len(messages))
            if messages[-1].key is not None:
                self._store_progress("source", batch.source.format.key_of(messages[-1]))
            if batch.stop.is_set():
                return
            self._size.adapt()

    def _walk_ranges(self, digests: Digests) -> None:
        """Compare the ranges whose digests have changed since both sides were equal."""
        control, batch = self._parts.control, self._batch
        stored = [Range(None)] if self._options.full else digests.load(control)
        walked, after = list[Range](), None
        self._size.restart()
        for place, one in enumerate(stored):
            if self._is_unchanged(digests, after, one):
                self._report.counts["unchanged"] += one.rows
                self._progress.advance(one.rows)
                walked.append(one)
            else:
                for rows in read_range(
                    batch, self._parts.reader, digests, after, one.until, size=self._size
                ):
                    walked.append(self._compare_range(digests, rows))
                    if batch.stop.is_set():
                        digests.save(control, [*walked, Range(one.until), *stored[place + 1 :]])
                        return
                    self._size.adapt()
            after = one.until
        digests.save(control, walked)

    def _is_unchanged(self, digests: Digests, after: Bound, one: Range) -> bool:
        if one.source is None:
            return False
        reader, target = self._parts.reader, self._parts.target
        return (
            digests.source.digest(reader, after, one.until)[1] == one.source
            and digests.target.digest(target, after, one.until)[1] == one.target
        )

    def _compare_range(self, digests: Digests, rows: RangeRows) -> Range:
        """Compare a range; return it, with its digests only if both sides are equal."""
        target = self._parts.target
        with target.transaction():
            target.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            suspects, writes = self._compare(rows.messages)
            target_rows, digest = digests.target.digest(target, rows.after, rows.until)
        missing = sum(suspect.kind is Kind.MISSING for suspect in suspects)
        self._has_surplus = self._has_surplus or target_rows > writes - missing
        self._report.counts["keys"] += target_rows
        self._add_suspects(suspects)
        self._progress.advance(len(rows.messages))
        if rows.messages:
            self._store_progress("source", self._batch.source.format.key_of(rows.messages[-1]))
        if suspects or target_rows != writes:
            return Range(rows.until)
        return Range(rows.until, target_rows, rows.digest, digest)

    def _compare(self, messages: Sequence[Message]) -> tuple[list[Suspect], int]:
        """Map the rows; return those that differ in the target, and how many were written."""
        if self._batch.refresh():
            self._report.note(
                "the masking policies changed during the run: rows before were compared by the "
                "earlier ones"
            )
        chunk = self._batch.pipeline.prepare(messages)
        counts = self._report.counts
        waiting = sum(isinstance(one.error, WaitingError) for one in chunk.dead_letters)
        counts["read"] += len(messages)
        counts["deferred"] += waiting
        counts["failed"] += len(chunk.dead_letters) - waiting
        counts["dropped"] += chunk.counts["dropped"]
        writes = [change for change in chunk.changes if isinstance(change, Write)]
        self._note_keys(writes)
        suspects = self._parts.comparison.compare(writes)
        suspects += self._unremoved(chunk.changes, {write.key for write in writes})
        return suspects, len(writes)

    def _note_keys(self, writes: Sequence[Write]) -> None:
        batch = self._batch
        if batch.mapping.query is not None:
            self._seen.add(self._parts.target, writes)
        elif batch.may_change_keys and self._keys_kept:
            self._keys_kept = batch.deletions.finds(writes)

    def _unremoved(self, changes: Sequence[object], written: set[object]) -> list[Suspect]:
        """Return the rows that the mapping removes but that the target still has."""
        if isinstance(self._batch.mapping.on_remove, Ignore | Review):
            return []
        removals = [
            Suspect(kind=Kind.EXTRA, key=change.key, change=change)
            for change in changes
            # With an owner, another source row may have the key now.
            if isinstance(change, Removal) and change.owner is None and change.key not in written
        ]
        return self._parts.settlement.unremoved(removals)

    # -- the target ------------------------------------------------------------------------------

    def _walk_target(self, after: Sequence[str] | None) -> None:
        """Look for keys of the target that the source does not have."""
        find_missing = None if self._batch.stop.is_set() else self._choose_search()
        if find_missing is None:
            return
        keys, last = self._batch.deletions.keys, tuple(after) if after else None
        if last is None:
            self._report.counts["keys"] = 0
        self._size.restart()
        while not self._batch.stop.is_set():
            page, last = keys.page(last, self._size.rows, None, self._parts.target)
            self._report.counts["keys"] += len(page)
            missing = find_missing(page) if page else []
            extra = [Suspect(kind=Kind.EXTRA, key=key) for key in missing]
            self._add_suspects(self._parts.settlement.unremoved(extra))
            if last is None:
                return
            self._store_progress("target", last)
            self._size.adapt()

    def _choose_search(self) -> FindMissing | None:
        """Return the function that finds keys that the source lacks; None if there is no need.

        If it cannot be decided which keys the source lacks, the report says why.
        """
        batch, mapping, note = self._batch, self._batch.mapping, self._report.note
        reason = ""
        if self._digests and not (self._has_surplus or self._is_resumed):
            return None  # no range of the target has more rows than expected
        if self._options.mode != "full" and self._digests is None:
            reason = "only a full run reads the keys of the target"
        elif batch.beside:
            reason = (
                f"{', '.join(batch.beside)} may have written them; declare shared_target=True in "
                f"each mapping of {mapping.target}"
            )
        elif isinstance(mapping.on_delete, Ignore | Review) or isinstance(
            mapping.on_remove, Ignore | Review
        ):
            reason = "the mapping leaves rows in the target when the source deletes theirs"
        elif mapping.query is not None:
            if not (self._report.counts["failed"] or self._report.counts["deferred"]):
                return self._seen.missing
            reason = "rows that failed or are deferred may belong there"
        elif batch.deletions.find_missing is None or not self._keys_kept:
            reason = "the target's key is not made of unchanged source columns"
        else:
            return batch.deletions.find_missing
        note(f"extra rows were not looked for: {reason}")
        return None

    def _walk_derived(self) -> None:
        """Compare the rows that the target derives from its candidates, in a full run."""
        derived, options = self._parts.derived, self._options
        if derived is None or not options.full:
            return
        for found, repaired in derived.walk(
            self._size.rows, repair=options.repair, dry_run=options.dry_run
        ):
            self._record(found, repaired)
            if self._batch.stop.is_set():
                return

    # -- suspects --------------------------------------------------------------------------------

    def _add_suspects(self, suspects: Sequence[Suspect]) -> None:
        if suspects and not self._suspects:
            self._oldest_at = time.monotonic()
        self._suspects += suspects
        is_large = (
            len(self._suspects) >= _MAX_SUSPECTS
            or total_size(self._suspects) > self._batch.chunk_bytes
        )
        # A mapping's query is read by one statement, which is still running.
        if is_large and self._batch.mapping.query is None:
            self._settle()

    def _store_progress(self, phase: str, last_key: Sequence[str]) -> None:
        """Store the last key read, at most once a second and only while no suspect is unsettled."""
        now = time.monotonic()
        if self._suspects and now - self._oldest_at > _MAX_SUSPECT_SECONDS:
            self._settle()
        if not self._suspects and (
            now - self._stored_at > _PROGRESS_SECONDS or self._batch.stop.is_set()
        ):
            self._stored_at = now
            self._parts.store.progress(self._run, phase, last_key, self._report)

    def _settle(self) -> None:
        """Compare the suspects again after a marker; count, store and repair what differs."""
        suspects, self._suspects = self._suspects, []
        if not suspects or self._batch.stop.is_set():  # the next run reads them again
            return
        settled = self._parts.settlement.settle(suspects)
        self._report.counts["pending"] += len(settled.pending)
        self._report.counts["waiting"] += len(settled.waiting)
        if settled.reason:
            self._report.note(f"not yet applied: {settled.reason}")
        self._record(settled.found, self._repair(settled.found))

    def _record(self, found: Sequence[Suspect], repaired: Sequence[Suspect]) -> None:
        self._report.add_found(found)
        self._report.counts["repaired"] += len(repaired)
        store = partial(self._parts.store.add_found, self._run)
        store(without(found, repaired), repaired=False)
        store(repaired, repaired=not self._options.dry_run)

    def _repair(self, found: Sequence[Suspect]) -> list[Suspect]:
        if self._parts.repair is None or not found:
            return []
        repaired = self._parts.repair.repair(found)
        for note in self._parts.repair.notes:
            self._report.note(note)
        return repaired
