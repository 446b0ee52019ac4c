"""A target's columns: where their values come from and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first of these source columns that is not NULL."""

    columns: tuple[str, ...]


def first_of(*columns: str) -> FirstOf:
    return FirstOf(columns)


@dataclass(frozen=True, slots=True)
class AllOf:
    """These source columns together, as a tuple: for a lookup by more than one value."""

    columns: tuple[str, ...]


def all_of(*columns: str) -> AllOf:
    return AllOf(columns)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value in every row."""

    value: Any


@dataclass(frozen=True, slots=True)
class SyncTime:
    """The time of the write, UTC.  Alone it never makes a row count as changed."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Values found in a database by other values, asked once for each batch.

    `query` takes one array parameter, ``%s``, for each source column of its column (one, but
    for `all_of`), the arrays side by side, and returns rows of those very values, as text, and
    what was found.  `database` is where it runs, with the reader's role.  What is not found
    becomes NULL.  Where the table may spell an equal value otherwise (numeric, char, citext),
    select that of the array: ``FROM unnest(%s::text[]) asked JOIN ...``.

    What is found gets the masking policy of the column that it comes from, as PostgreSQL tells it.
    """

    query: str
    database: str
    made_of: tuple[str, ...] = field(default=(), kw_only=True)
    """The columns, ``database.schema.table.column``, of what the query computes: an expression
    comes from no column that PostgreSQL could name, and takes over their policies."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the target and where its value comes from.

    The steps run in this order: `source`, `convert`, `default`, the quality rules (`minimum`,
    `maximum`, `one_of`), `lookup`, the masking policies, `max_length`.  NULL passes by
    `convert`, the rules, `lookup` and `max_length`.
    """

    name: str
    source: str | FirstOf | AllOf | Constant | SyncTime | None = None
    """A source column; the column of the same name if None."""
    required: bool = field(default=False, kw_only=True)
    """NULL sends the event to the dead letters; where a `lookup` found nothing, the event
    first waits, and the later ones of its row behind it: what it needs may be on its way."""
    default: Any = field(default=None, kw_only=True)
    """Written in place of NULL, and counted under the rule ``default``."""
    convert: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    """A pure function of the value, which has its Python type (`Event.row`)."""
    lookup: Lookup | tuple[Lookup, ...] | None = field(default=None, kw_only=True)
    """Of several, each looks up what the one before it found."""
    must_resolve: bool = field(default=False, kw_only=True)
    """What is not NULL has to be found by the `lookup`, or the event waits as for `required`."""
    minimum: Any = field(default=None, kw_only=True)
    """Less than this breaks the rule ``minimum``: the event goes to the dead letters."""
    maximum: Any = field(default=None, kw_only=True)
    """More than this breaks the rule ``maximum``."""
    one_of: frozenset[Any] | None = field(default=None, kw_only=True)
    """Anything else breaks the rule ``one_of``."""
    max_length: int | None = field(default=None, kw_only=True)
    """Longer text is cut, counted in characters."""
    insert_only: bool = field(default=False, kw_only=True)
    """Written when the row is created, left alone afterwards."""
    type: str | None = field(default=None, kw_only=True)
    """PostgreSQL type; only for the columns of `Derived`, which has no catalog to ask."""

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
        """The chain of lookups, often of one, mostly empty."""
        match self.lookup:
            case None:
                return ()
            case Lookup():
                return (self.lookup,)
            case chain:
                return chain


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of a source row; a row that breaks it is a dead letter, under its name."""

    name: str
    check: Callable[[Mapping[str, Any]], bool]
    """A pure function of the row's columns, which have their Python types (`Event.row`)."""
    reads: tuple[str, ...]
    """The source columns that it looks at."""


def not_before(later: str, earlier: str) -> Rule:
    """One time of the row is not before another; NULL is neither."""

    def holds(row: Mapping[str, Any]) -> bool:
        one, other = row[later], row[earlier]
        return one is None or other is None or bool(one >= other)

    return Rule(f"{later} not before {earlier}", holds, (later, earlier))
