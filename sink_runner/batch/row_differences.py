"""The SQL that compares the rows of a mapping's table with the rows that the source results in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..plugin import Strategy, TableMapping
from ..postgres.catalog import quoted
from ..postgres.comparison import as_base, differ, stored
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from .keys import TargetKeys


@dataclass(frozen=True)
class RowDifferences:
    """SQL on a row `t` of the table and an expected row `s`, whose values are texts.

    It compares the columns that the mapping's conflict rule keeps equal.
    """

    mapping: TableMapping
    keys: TargetKeys

    @cached_property
    def compared(self) -> list[TargetColumn]:
        return [column for column in self.keys.columns if self._is_compared(column)]

    @property
    def same_key(self) -> str:
        return " AND ".join(f"t.{quoted(n)} = {self._expected(n)}" for n in self.keys.names)

    @property
    def exists(self) -> str:
        return f"t.{quoted(self.keys.names[0])} IS NOT NULL"

    def differs(self, column: TargetColumn) -> str:
        """Return a condition: the stored value differs from the expected one."""
        old = f"t.{quoted(column.name)}"
        new = stored(self._expected(column.name), column.pg)
        conditions = [self.exists, differ([as_base(old, column.pg)], [new])]
        if self.mapping.conflict.strategy is Strategy.MERGE_CHANGED:
            conditions.append(f"{new} IS NOT NULL")
        return f"({' AND '.join(conditions)})"

    @property
    def is_superseded(self) -> str:
        """Condition: the table's row has a later version than the expected one, and so stays."""
        version = self.mapping.conflict.version
        if version is None or self.mapping.derived is not None:
            return "false"
        latest = stored(self._expected(version), self._type(version))
        return f"coalesce(t.{quoted(version)} > {latest}, false)"

    def _expected(self, name: str) -> str:
        return self._type(name).read(f"s.{quoted(name)}")

    def _type(self, name: str) -> PgType:
        return next(column.pg for column in self.keys.columns if column.name == name)

    def _is_compared(self, column: TargetColumn) -> bool:
        """Return False for a column that is written only once: it may hold an older value."""
        once = self.mapping.conflict.strategy is Strategy.INSERT_ONCE
        is_key = column.name in self.keys.names and column.pg.is_exact
        return not (once or column.column.insert_only or is_key)
