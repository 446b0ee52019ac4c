"""The plugin author's API: import from here and from nowhere else in sink_runner.

A mapping *declares* what can be declared (source, target, key, columns, conflict rule) and
codes only what cannot.  What is declared is checked against both databases and the masking
policies at start, and compiled into one flat step.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pluggy

from .errors import EventError, FatalError, RetriableError

__all__ = [
    "ABSENT",
    "Action",
    "Candidates",
    "Change",
    "Column",
    "Conflict",
    "Constant",
    "Context",
    "Delete",
    "Event",
    "EventError",
    "FatalError",
    "FirstOf",
    "Keep",
    "Lookup",
    "Mark",
    "Op",
    "RetriableError",
    "Review",
    "Row",
    "SyncTime",
    "Table",
    "TableMapping",
    "Verdict",
    "first_of",
    "hookimpl",
    "insert_once",
    "merge_changed",
    "newest_wins",
    "source_wins",
]

PROJECT = "sink_runner"

hookimpl = pluggy.HookimplMarker(PROJECT)

Row: TypeAlias = dict[str, Any]


class _Absent(enum.Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent.ABSENT
"""A column whose value the event does not carry; the target keeps what it has.  Not NULL."""


class Op(enum.StrEnum):
    """What Debezium says happened, by its one-letter code."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"
    TRUNCATE = "t"


class Verdict(enum.Enum):
    """A filter's answer."""

    PASS = enum.auto()
    """The row belongs in the target."""
    DROP = enum.auto()
    """This event changes nothing in the target."""
    RETIRE = enum.auto()
    """The row no longer belongs in the target: apply the mapping's `on_retire`."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's full name: a bare table name may exist in several schemas."""

    database: str
    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read ``database.schema.table``."""
        parts = text.split(".")
        if len(parts) != len(cls.__slots__) or not all(parts):
            raise ValueError(f"{text!r} is not of the form database.schema.table")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.database}.{self.schema}.{self.name}"


# -- columns ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first of these source columns that is not NULL."""

    columns: tuple[str, ...]


def first_of(*columns: str) -> FirstOf:
    return FirstOf(columns)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value in every row."""

    value: Any


@dataclass(frozen=True, slots=True)
class SyncTime:
    """The time of the write, UTC.  Alone it never makes a row count as changed."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Values found in a database by another value, asked once for each batch.

    `query` takes one array parameter, ``%s``, of the distinct values and returns rows of
    (value as text, found).  `database` is where it runs: a database of the mapping.
    A value that is not found becomes NULL.
    """

    query: str
    database: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the target and where its value comes from.

    The steps run in this order: `source`, `convert`, `default`, `lookup`, the masking
    policies, `max_length`.  NULL passes by `convert`, `lookup` and `max_length`.
    """

    name: str
    source: str | FirstOf | Constant | SyncTime | None = None
    """A source column; the column of the same name if None."""
    required: bool = field(default=False, kw_only=True)
    """NULL sends the event to the dead letters."""
    default: Any = field(default=None, kw_only=True)
    """Written in place of NULL."""
    convert: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    """A pure function of the value, which has its Python type (`Event.row`)."""
    lookup: Lookup | None = field(default=None, kw_only=True)
    max_length: int | None = field(default=None, kw_only=True)
    """Longer text is cut, counted in characters."""
    on_insert: bool = field(default=False, kw_only=True)
    """Written when the row is created, left alone afterwards."""
    type: str | None = field(default=None, kw_only=True)
    """PostgreSQL type; only for the columns of `Candidates`, which has no catalog to ask."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The source columns that the value depends on."""
        match self.source:
            case None:
                return (self.name,)
            case FirstOf(columns):
                return columns
            case str(column):
                return (column,)
            case _:
                return ()


# -- conflicts and departures ----------------------------------------------------------------


class Strategy(enum.Enum):
    """How an incoming row and the target's row become one."""

    NEWEST_WINS = "newest wins"
    SOURCE_WINS = "source wins"
    INSERT_ONCE = "insert once"
    MERGE_CHANGED = "merge changed"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict rule: a value that the writer compiles into SQL."""

    strategy: Strategy
    version: str | None = None
    """The target column that holds the source's time; NULL there counts as oldest."""


def newest_wins(version: str) -> Conflict:
    """The row with the later `version` stays; of two equal ones the later in the log."""
    return Conflict(Strategy.NEWEST_WINS, version)


def source_wins() -> Conflict:
    """Every event overwrites the target, in the order of the log."""
    return Conflict(Strategy.SOURCE_WINS)


def insert_once() -> Conflict:
    """The first row of a key stays for good."""
    return Conflict(Strategy.INSERT_ONCE)


def merge_changed(version: str) -> Conflict:
    """As `newest_wins`, but only for the columns that the event changed and that are not NULL.

    Needs the old row (`TableMapping.old_row`).
    """
    return Conflict(Strategy.MERGE_CHANGED, version)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the target row."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave the target row as it is."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Set these columns of the target row, if it is there."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Review:
    """Leave the target row and record a conflict for a person to resolve."""

    conflict_type: str = "deletion_conflict"


Action: TypeAlias = Delete | Keep | Mark | Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Several source rows compete for a target row, so the losers must be remembered.

    The mapping's `columns` then describe the candidate table, keyed by `key`; `select` is
    the SQL that derives the target's rows from it.  It may use ``{candidates}`` (the rows of
    the groups to derive, masked) and ``{now}`` (a timestamp, UTC), and must return the
    target's columns by name.  Whenever a candidate changes, and when one ages past
    `expire_after`, its group is derived anew, alone and in one transaction.
    """

    key: tuple[str, ...]
    group: tuple[str, ...]
    """Columns that the candidate table and the target have in common; a group never mixes."""
    select: str
    expire_column: str | None = None
    expire_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """Which table feeds which, and how rows are recognised on both sides."""

    source: str
    """``database.schema.table``, which is also the Kafka topic."""
    target: str
    key: tuple[str, ...]
    """Columns of the target with a unique constraint over them."""
    columns: tuple[Column, ...]
    conflict: Conflict
    reads: tuple[str, ...] = ()
    """Source columns that the hooks read besides those the columns name."""
    old_row: bool = False
    """The mapping needs the row before the change: the source has REPLICA IDENTITY FULL."""
    on_delete: Action = Delete()
    """The source row was deleted."""
    on_retire: Action = Delete()
    """A filter said RETIRE."""
    on_rekey: Action | None = None
    """An update gave the row another target key; None means as `on_retire`."""
    candidates: Candidates | None = None
    schedule: str | None = None
    """Cron expression, UTC, of the batch form."""

    @property
    def source_table(self) -> Table:
        return Table.parse(self.source)

    @property
    def target_table(self) -> Table:
        return Table.parse(self.target)

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Every source column the mapping uses, each once, in order of first use."""
        used = [name for column in self.columns for name in column.sources]
        return tuple(dict.fromkeys([*used, *self.reads]))


# -- what hooks are given --------------------------------------------------------------------


# Not frozen: assigning through object.__setattr__ would triple the cost of the hot path.
@dataclass(slots=True, kw_only=True, eq=False)
class Event:
    """One change event, read-only.

    `row` holds the columns after the change, and for a delete those before it.  Times
    without zone are naive and UTC; numerics are Decimal; UUID and JSON are text.
    """

    op: Op
    row: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    """The row before an update or delete, if the mapping declares `old_row`."""
    committed_at: datetime
    """When the source committed the change, naive UTC."""
    position: int = 0
    """The log sequence number in the source database."""
    origin: str | None = None
    topic: str = ""
    partition: int = 0
    offset: int = 0

    def age(self, moment: datetime | None) -> timedelta:
        """How long before the change `moment` was; NULL counts as the very moment."""
        return timedelta(0) if moment is None else self.committed_at - moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a hook may know besides its event; one per plugin and mapping, made at start."""

    plugin: str
    mapping: TableMapping
    config: Any = None
    batch: bool = False
    """The rows come from a batch read of the table and not from Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row on its way to the target, after mapping and masking."""

    action: Action | None
    """None writes the row; anything else says how the key leaves."""
    key: tuple[Any, ...]
    row: Row


Changes: TypeAlias = Sequence[Change]
