"""At the end of a run, remove from the target the rows that the source no longer has.

Rows of API callbacks were never in the source table, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

from ..model.batch import Batch
from ..model.clock import clock
from ..model.dead_letter import DeadLetter, fails
from ..plugin import Ignore
from ..writer.committer import Connection
from .deletions import SeenKeys
from .keys import Key
from .plan import BatchPipeline
from .report import Report

FindMissing: TypeAlias = Callable[[Sequence[Key]], list[Key]]
"""Returns which of the given keys the source does not have."""


class MissingRows:
    """Removes, page by page, the keys of the target that the source does not have."""

    def __init__(
        self,
        batch: BatchPipeline,
        report: Report,
        position: int,
        keys_are_kept: Callable[[], bool],
    ) -> None:
        """`position` is the log position of the snapshot, which the removals get.

        `keys_are_kept` returns whether rows have the same keys in source and target.
        """
        self._batch = batch
        self._committer = batch.pipeline.committer
        self._report = report
        self._position = position
        self._keys_are_kept = keys_are_kept

    def remove(self, seen: SeenKeys, *, full: bool, before_each: Callable[[], None]) -> None:
        """Remove the missing rows; `before_each` is called before each transaction."""
        mapping, beside = self._batch.mapping, self._batch.beside
        if beside and (full or mapping.query):
            self._report.notes.append(
                f"no missing row is removed: {', '.join(beside)} may have written it; declare "
                f"shared_target=True in each mapping of {mapping.target}"
            )
            return
        search = self._choose_search(seen, full=full)
        if search is not None:
            self._remove_pages(*search, before_each)
        if full and self._batch.touch_orphans is not None and not self._is_incomplete():
            before_each()
            derive = partial(self._derive, self._batch.touch_orphans)
            orphans = self._committer.transact(derive, dry=self._report.dry_run)
            self._report.counts["removed"] += orphans

    def _choose_search(
        self, seen: SeenKeys, *, full: bool
    ) -> tuple[FindMissing, Collection[Key] | None] | None:
        """Return the function that finds missing keys, and the groups to search (None: all).

        Returns None if no row may be removed.
        """
        mapping, report = self._batch.mapping, self._report
        if isinstance(mapping.on_remove, Ignore):
            return None
        if mapping.query is not None:
            if report.counts["failed"]:
                report.notes.append("no missing row is removed: rows that failed may belong there")
                return None
            groups = None if full else seen.groups
            return (seen.missing, groups) if full or groups else None
        if not full:
            return None
        find_missing = self._batch.deletions.find_missing
        if find_missing is not None and self._keys_are_kept():
            return find_missing, None
        report.notes.append(
            "no missing row is removed: the target's key is not made of unchanged source columns"
        )
        return None

    def _is_incomplete(self) -> bool:
        """Return whether orphans may belong to rows that failed or are deferred."""
        counts = self._report.counts
        if not (counts["failed"] or counts["parked"]):
            return False
        self._report.notes.append(
            "rows without a candidate are kept: rows that failed or are deferred may belong there"
        )
        return True

    def _derive(self, touch_orphans: str, connection: Connection) -> int:
        """Derive the groups without a candidate again, which removes their rows."""
        connection.execute(touch_orphans.encode())
        return self._batch.pipeline.writer.write(connection, (), clock())

    def _remove_pages(
        self,
        find_missing: FindMissing,
        groups: Collection[Key] | None,
        before_each: Callable[[], None],
    ) -> None:
        batch, last = self._batch, None
        while not batch.stop.is_set():
            page, last = self._committer.ask(
                partial(batch.deletions.keys.page, last, batch.chunk_rows, groups)
            )
            missing = find_missing(page) if page else []
            if missing:
                before_each()
                self.remove_keys(missing, find_missing)
            if last is None:
                return

    def remove_keys(self, keys: Sequence[Key], find_missing: FindMissing) -> None:
        """Remove keys in a transaction, and count them in the report."""
        remove = partial(self._remove, keys, find_missing)
        self._count(*self._committer.transact(remove, dry=self._report.dry_run))

    def _remove(
        self, keys: Sequence[Key], find_missing: FindMissing, connection: Connection
    ) -> tuple[int, int, list[DeadLetter]]:
        """Remove keys that are still missing while no event of the mapping can be applied."""
        deletions, dead_letters = self._batch.deletions, list[DeadLetter]()
        keys = find_missing(keys)
        if callbacks := self._committer.callbacks:
            kept = callbacks.among(connection, keys)
            keys = [key for at, key in enumerate(keys) if at not in kept]
        removals = deletions.removals_of(keys, self._position)
        removed = self._committer.write(connection, removals, dead_letters).rows
        # A row that another table still refers to is not deferred: the next full run removes it.
        refused = [dead_letter for dead_letter in dead_letters if fails(dead_letter)]
        self._committer.store(connection, Batch(), removals, refused, written=removed)
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        applied = [removal for removal in removals if id(removal.source) not in failed]
        deletions.note_removed(connection, applied)
        return removed, len(applied), dead_letters

    def _count(self, removed: int, gone: int, dead_letters: Sequence[DeadLetter]) -> None:
        self._report.counts.update(removed=removed, gone=gone, unretired=len(dead_letters))
        self._report.note_failures(dead_letters, self._batch.pipeline.compiled.hooks)
