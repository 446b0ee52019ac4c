"""Build the SQL that compares staged rows with the target's rows of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..postgres.catalog import quoted
from ..postgres.comparison import as_base, differ, stored
from .statements import Statements


@dataclass(frozen=True)
class RowComparison:
    """SQL that returns a row for each staged row whose key the target has, and locks the latter.

    The first column is the staged row's number, from 0.
    """

    statements: Statements

    @cached_property
    def values(self) -> str:
        """The further columns: whether the two differ, the new values, the old values, and the
        text of the old values as an array."""
        new = [self.statements.staged(name) for name in self._names]
        old = [f"t.{quoted(name)}" for name in self._names]
        texts = _array(f"{value}::text" for value in old)
        return self._beside([differ(*self._images), *new, *old, texts])

    def differences(self, *, version: str, owner_time: str | None) -> str:
        """The comparison is the database's, since Python cannot represent every value.

        The further columns are arrays with an item for each column: whether it differs, whether
        the new value is NULL, the texts of the new values and of the old ones.  The last columns
        are about the version: whether both are equal, whether the old one is NULL, whether the new
        one is later, whether it is earlier; and whether the owner wrote in its second or after it.
        """
        pairs = list(zip(*self._images, strict=True))
        old, new = pairs[self._names.index(version)]
        since = f"t.{quoted(owner_time)} >= date_trunc('second', {new})" if owner_time else "false"
        return self._beside(
            [
                _array(differ([one], [other]) for one, other in pairs),
                _array(f"{other} IS NULL" for _, other in pairs),
                _array(f"({other})::text" for _, other in pairs),
                _array(f"({one})::text" for one, _ in pairs),
                f"{new} IS NOT DISTINCT FROM {old}",
                f"{old} IS NULL",
                f"coalesce({new} > {old}, {old} IS NULL AND {new} IS NOT NULL)",
                f"coalesce({new} < {old}, {new} IS NULL AND {old} IS NOT NULL)",
                f"coalesce({since}, false)",
            ]
        )

    @property
    def _names(self) -> list[str]:
        return [column.name for column in self.statements.columns]

    @cached_property
    def _images(self) -> tuple[list[str], list[str]]:
        """The old and the new values as the target stores them, of their base types."""
        types = self.statements.types
        old = [as_base(f"t.{quoted(name)}", types[name]) for name in self._names]
        new = [stored(self.statements.staged(name), types[name]) for name in self._names]
        return old, new

    def _beside(self, expressions: Sequence[str]) -> str:
        sql = self.statements
        numbered = f"SELECT *, row_number() OVER (ORDER BY ctid) - 1 AS _number FROM {sql.stage}"
        return (
            f"SELECT s._number, {', '.join(expressions)} FROM {sql.target} t "
            f"JOIN ({numbered}) s ON {sql.same_key} "
            f"ORDER BY {', '.join(f't.{quoted(n)}' for n in sql.key)} FOR UPDATE OF t"
        )


def _array(expressions: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(expressions)}]"
