"""Compare rows that are derived from candidates with what their candidates result in now.

Candidates and derived rows change in one transaction of one database, so one statement sees both in
a consistent state. Only after a candidate has expired are its group's rows outdated, until the
runner's maintenance derives them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from ..batch.keys import Key
from ..batch.plan import BatchPipeline
from ..model.clock import clock
from ..postgres.session import Connection
from ..writer.derivation import Derivation
from .suspect import Kind, Suspect

_MAINTENANCE_DELAY = timedelta(hours=1)
"""The groups of candidates that expired within this time may not be derived again yet."""


class DerivedRows:
    """The derived rows of one mapping, in a session of `open_target`."""

    def __init__(self, batch: BatchPipeline, derivation: Derivation, target: Connection) -> None:
        self._batch = batch
        self._derivation = derivation
        self._target = target
        self._counts_extra = not (batch.beside or batch.mapping.shared_target)

    def walk(
        self, size: int, *, repair: bool, dry_run: bool
    ) -> Iterator[tuple[list[Suspect], list[Suspect]]]:
        """Compare all groups; yield the rows that differ, and those of them that were repaired.

        With `dry_run`, the second list has the rows that a repair would change.
        """
        for groups in self.groups(size):
            found = self.compare(groups)
            if not found:
                continue
            left = found
            if repair:
                self.repair(groups, dry_run=dry_run)
                left = [] if dry_run else self.compare(groups)
            keys = {suspect.key for suspect in left}
            yield found, [suspect for suspect in found if repair and suspect.key not in keys]

    def groups(self, size: int) -> Iterator[list[Key]]:
        """Yield the groups that the candidates or the target have, in portions."""
        last: Key | None = None
        while page := self._page(last, size):
            yield page
            last = page[-1]

    def compare(self, groups: Sequence[Key]) -> list[Suspect]:
        """Return the rows of these groups that differ from what their candidates result in."""
        now = clock()
        found = self._differences(groups, now)
        if found and self._derivation.candidates.expire_after is not None:
            earlier = self._differences(groups, now - _MAINTENANCE_DELAY)
            earlier_keys = {suspect.key for suspect in earlier}
            found = [suspect for suspect in found if suspect.key in earlier_keys]
        return [one for one in found if self._counts_extra or one.kind is not Kind.EXTRA]

    def repair(self, groups: Sequence[Key], *, dry_run: bool) -> None:
        """Derive these groups again."""
        derive = partial(self._derive, groups)
        self._batch.retry(lambda _again: self._batch.committer.transact(derive, dry=dry_run))

    def _derive(self, groups: Sequence[Key], connection: Connection) -> int:
        self._touch(connection, groups)
        return self._batch.pipeline.writer.write(connection, (), clock())

    def _page(self, last: Key | None, size: int) -> list[Key]:
        query = self._derivation.some_groups(after=last is not None, most=size)
        return self._target.execute(query.encode(), list(last or ()) * 2).fetchall()

    def _touch(self, connection: Connection, groups: Sequence[Key]) -> None:
        arrays = [list(column) for column in zip(*groups, strict=True)]
        connection.execute(self._derivation.touch_groups.encode(), arrays)

    def _differences(self, groups: Sequence[Key], now: datetime) -> list[Suspect]:
        with self._target.transaction():
            self._touch(self._target, groups)
            query, names = self._derivation.differences(self._target)
            rows = self._target.execute(query.encode(), {"now": now}).fetchall()
        found = []
        for is_wanted, exists, key, differs in rows:
            kind = Kind.DIFFERENT if exists and is_wanted else Kind.MISSING
            columns = tuple(name for name, differ in zip(names, differs, strict=True) if differ)
            found.append(
                Suspect(
                    kind=kind if is_wanted else Kind.EXTRA,
                    key=tuple(key),
                    columns=columns if kind is Kind.DIFFERENT else (),
                )
            )
        return found
