"""A declared column with its type in the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ..plugin import Column, SyncTime
from .declared_types import declared_type
from .types import UNRESOLVED, PgType

Converter: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A declared column joined with the target's catalog and the masking policies."""

    column: Column
    type: str
    stage_type: str
    mask: Converter | None = None
    pg: PgType = UNRESOLVED
    """The resolved type, by default that of `type`."""

    def __post_init__(self) -> None:
        """Resolve the type of a column that comes from no database."""
        if self.pg is UNRESOLVED:
            object.__setattr__(self, "pg", declared_type(self.type))

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def unruled(self) -> TargetColumn:
        """Return the column without its rules, for a row that is not written."""
        bare = replace(self.column, required=False, minimum=None, maximum=None, one_of=None)
        return replace(self, column=bare)


def staged(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns that are staged; the database fills the others."""
    return tuple(column for column in columns if not isinstance(column.source, SyncTime))
