"""The columns of a target: where their values come from and which rules they must meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The value of the first of these source columns that is not NULL."""

    columns: tuple[str, ...]


def first_of(*columns: str) -> FirstOf:
    """Take the first of these source columns that is not NULL, else NULL."""
    return FirstOf(columns)


@dataclass(frozen=True, slots=True)
class AllOf:
    """The values of these source columns as a tuple, for a lookup by several values."""

    columns: tuple[str, ...]


def all_of(*columns: str) -> AllOf:
    """Take these source columns together, for a lookup by several values."""
    return AllOf(columns)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value in every row."""

    value: Any


@dataclass(frozen=True, slots=True)
class SyncTime:
    """The time of the write, UTC.  A row that differs by this time only is not written."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds the value of a column in a database, with one query for each batch.

    `query` takes one array parameter, ``%s``, for each source column of the column: one, or with
    `all_of` one for each, in the same order.  It returns a row for each value that it finds: the
    values looked up, as text, and the value found.  It runs in `database` with the reader's role.
    A value that is not found becomes NULL.  If equal values may have different texts (numeric,
    char, citext), return the value of the array: ``FROM unnest(%s::text[]) wanted JOIN ...``.

    The found value gets the masking policy of its column, which PostgreSQL reports.
    """

    query: str
    database: str
    made_of: tuple[str, ...] = field(default=(), kw_only=True)
    """The columns, ``database.schema.table.column``, from which the query computes the value.

    PostgreSQL reports no column for an expression, so the value gets the policies of these."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the target and where its value comes from.

    The steps run in this order: `source`, `convert`, `default`, the quality rules (`minimum`,
    `maximum`, `one_of`), `lookup`, the masking policies, `max_length`.  NULL skips `convert`,
    the rules, `lookup` and `max_length`.
    """

    name: str
    source: str | FirstOf | AllOf | Constant | SyncTime | None = None
    """A source column; the column of the same name if None."""
    required: bool = field(default=False, kw_only=True)
    """An event with NULL here becomes a dead letter.

    If the `lookup` found nothing, the event is first deferred, together with later events of its
    row: the row that it needs may still arrive."""
    default: Any = field(default=None, kw_only=True)
    """Written instead of NULL, and counted under the rule ``default``."""
    convert: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    """A pure function of the value, which has its Python type (see `Event`)."""
    lookup: Lookup | tuple[Lookup, ...] | None = field(default=None, kw_only=True)
    """With several lookups, each takes the value that the previous one found."""
    must_resolve: bool = field(default=False, kw_only=True)
    """The `lookup` has to find every value that is not NULL; otherwise the event is deferred as for
    `required`."""
    minimum: Any = field(default=None, kw_only=True)
    """A smaller value breaks the rule ``minimum``: the event becomes a dead letter."""
    maximum: Any = field(default=None, kw_only=True)
    """A larger value breaks the rule ``maximum``."""
    one_of: frozenset[Any] | None = field(default=None, kw_only=True)
    """Any other value breaks the rule ``one_of``."""
    max_length: int | None = field(default=None, kw_only=True)
    """Longer text is cut to this number of characters."""
    insert_only: bool = field(default=False, kw_only=True)
    """Written when the row is created, and never changed afterwards."""
    type: str | None = field(default=None, kw_only=True)
    """PostgreSQL type; only with `Derived`, whose candidate table the runner creates."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The source columns that the value depends on."""
        match self.source:
            case None:
                return (self.name,)
            case FirstOf(columns) | AllOf(columns):
                return columns
            case str(column):
                return (column,)
            case _:
                return ()

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """The lookups in their order."""
        match self.lookup:
            case None:
                return ()
            case Lookup():
                return (self.lookup,)
            case chain:
                return chain


@dataclass(frozen=True, slots=True)
class Rule:
    """A quality rule for source rows: the event of a row that breaks it becomes a dead letter."""

    name: str
    check: Callable[[Mapping[str, Any]], bool]
    """A pure function of the row's columns, which have their Python types (see `Event`); False
    breaks the rule."""
    reads: tuple[str, ...]
    """The source columns that `check` reads."""


def not_before(later: str, earlier: str) -> Rule:
    """Require that the time in column `later` is not before that in `earlier`; NULL passes."""

    def holds(row: Mapping[str, Any]) -> bool:
        end, start = row[later], row[earlier]
        return end is None or start is None or bool(end >= start)

    return Rule(f"{later} not before {earlier}", holds, (later, earlier))
