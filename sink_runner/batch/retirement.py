"""The end of a run: what is gone from the source leaves the target.

Rows that came by a callback of the API never were in the source table, and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

from ..model.batch import Batch
from ..model.dead_letter import DeadLetter, fails
from ..plugin import Ignore
from ..writer.committer import Connection
from .deletions import Seen
from .keys import Key
from .plan import BatchPipeline
from .report import Report

Missing: TypeAlias = Callable[[Sequence[Key]], list[Key]]


class Retirement:
    """Retires, page by page, the keys of the target that the source does not have."""

    def __init__(
        self, tools: BatchPipeline, report: Report, position: int, tells: Callable[[], bool]
    ) -> None:
        """`tells`: what the source does not have by a row's key is gone, by all we know."""
        self._tools = tools
        self._report = report
        self._position = position
        self._tells = tells

    def run(self, seen: Seen, *, full: bool, before_each: Callable[[], None]) -> None:
        """`before_each` transaction is told, and may raise."""
        mapping, beside = self._tools.mapping, self._tools.beside
        if beside and (full or mapping.query):
            self._report.notes.append(
                f"nothing is retired, since {', '.join(beside)} may have written it: declare "
                f"shared_target=True in each mapping of {mapping.target}"
            )
            return
        how = self._how(seen, full=full)
        if how is not None:
            self._pages(*how, before_each)
        tools, touch = self._tools, self._tools.touch_orphans
        if full and touch is not None and not self._incomplete():
            before_each()
            derive = partial(tools.applier.derive, touch)
            orphans = tools.applier.transact(derive, dry=self._report.dry_run)
            self._report.counts["removed"] += orphans

    def _how(self, seen: Seen, *, full: bool) -> tuple[Missing, Collection[Key] | None] | None:
        """What tells that a key is gone, and in which groups; None: nothing is to be retired."""
        mapping, report = self._tools.mapping, self._report
        if isinstance(mapping.on_remove, Ignore):
            return None
        if mapping.query is not None:
            if report.counts["failed"]:
                report.notes.append("nothing is retired, since rows failed that may belong there")
                return None
            groups = None if full else seen.groups
            return (seen.missing, groups) if full or groups else None
        if not full:
            return None
        missing = self._tools.departures.missing
        if missing is not None and self._tells():
            return missing, None
        report.notes.append(
            "nothing is retired: the target's key is not made of source columns as they are"
        )
        return None

    def _incomplete(self) -> bool:
        """Did rows fail, or do some wait, that the orphans may come from?"""
        counts = self._report.counts
        if not (counts["failed"] or counts["parked"]):
            return False
        self._report.notes.append(
            "what comes from no candidate is left, since rows failed that may belong there"
        )
        return True

    def _pages(
        self,
        missing: Missing,
        groups: Collection[Key] | None,
        before_each: Callable[[], None],
    ) -> None:
        tools, last = self._tools, None
        while not tools.stop.is_set():
            page, last = tools.applier.ask(
                partial(tools.departures.keys.page, last, tools.chunk_rows, groups)
            )
            gone = missing(page) if page else []
            if gone:
                before_each()
                self._count(
                    *tools.applier.transact(
                        partial(self._retire, gone, missing), dry=self._report.dry_run
                    )
                )
            if last is None:
                return

    def _retire(
        self, keys: Sequence[Key], missing: Missing, connection: Connection
    ) -> tuple[int, int, list[DeadLetter]]:
        tools, dead_letters = self._tools, list[DeadLetter]()
        keys = missing(keys)
        if callbacks := tools.applier.callbacks:
            kept = callbacks.among(connection, keys)
            keys = [key for at, key in enumerate(keys) if at not in kept]
        leaves = tools.departures.leaves(keys, self._position)
        removed = tools.applier.put(connection, leaves, dead_letters).rows
        # What rows of another table still refer to is found again by the next full run.
        refused = [dead_letter for dead_letter in dead_letters if fails(dead_letter)]
        tools.applier.settle(connection, Batch(), refused, leaves, removed)
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        left = [leave for leave in leaves if id(leave.source) not in failed]
        tools.departures.left(connection, left)
        return removed, len(left), dead_letters

    def _count(self, removed: int, gone: int, dead_letters: Sequence[DeadLetter]) -> None:
        self._report.counts.update(removed=removed, gone=gone, unretired=len(dead_letters))
        self._report.note_failures(dead_letters, self._tools.hooks)
