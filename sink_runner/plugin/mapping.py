"""Which table feeds which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from .columns import Column, Rule
from .conflicts import Action, Conflict, ConflictDetection, Delete, OnTruncate


@dataclass(frozen=True, slots=True)
class Table:
    """A table's full name: a bare table name may exist in several schemas."""

    database: str
    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read ``database.schema.table``.

        A part may hold blanks and any other character.  One that holds a dot or a double quote
        is written as in SQL, in double quotes: ``shop."my.schema"."order items"``.
        """
        parts = _PART.findall(text)
        whole = ".".join(parts) == text and len(parts) == len(cls.__slots__)
        if not whole:
            raise ValueError(
                f"{text!r} is not of the form database.schema.table; write a part that holds a "
                'dot in double quotes, as in shop."my.schema".orders'
            )
        return cls(*map(_unquoted, parts))

    @property
    def topic(self) -> str:
        """The Kafka topic that Debezium gives the table: it replaces what Kafka forbids by ``_``.

        Two tables may get one topic: `check_topic_of_its_own` refuses their mappings.
        """
        name = f"{self.database}.{self.schema}.{self.name}"
        return _NOT_OF_A_TOPIC.sub("_", name)[:_LONGEST_TOPIC]

    def __str__(self) -> str:
        return ".".join(map(_quoted, (self.database, self.schema, self.name)))


_PART = re.compile(r'"(?:[^"]|"")+"|[^."]+')
_NOT_OF_A_TOPIC = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_TOPIC = 249


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Several source rows compete for a target row, so the losers must be remembered.

    The mapping's `columns` then describe the candidate table, keyed by `key`; `select` is
    the SQL that derives the target's rows from it.  It may use ``{candidates}`` (the rows of
    the groups to derive, masked, each with its place in the log as ``_position``,
    NULL where the event had none, and ``_ordinal``, its number in the transaction) and ``{now}``
    (a timestamp, UTC), and must return the target's columns by name.  Whenever a candidate
    changes, and when one ages past `expire_after`, its group is derived anew, alone and in one
    transaction.
    """

    key: tuple[str, ...]
    group: tuple[str, ...]
    """Columns that the candidate table and the target have in common; a group never mixes."""
    select: str
    expire_column: str | None = None
    expire_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the batch form runs by itself."""

    cron: str
    """Five fields, UTC."""
    full: bool = field(default=False, kw_only=True)
    """The whole table, and what is gone from it leaves the target; else what has changed."""
    expected: timedelta = field(default=timedelta(hours=1), kw_only=True)
    """A run that takes longer is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a batch reads in place of the source table: rows computed in the source database.

    `select` may use ``{changed}``, a condition on a row of the source table (all rows, or
    those written since the last run), and ``{since}``, when the last run began (``-infinity``
    before the first).  Its columns are the mapping's source columns.
    """

    select: str
    replaces: tuple[str, ...] = ()
    """Columns of the target.  A batch replaces whole what has the same values in them as one
    of its rows: target rows that it did not bring again are retired."""
    made_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each column that the query computes, the columns (``database.schema.table.column``)
    whose masking policies it takes over.  The others have that of the column that they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """Which table feeds which, and how rows are recognised on both sides."""

    source: str
    """``database.schema.table``; `Table.topic` is its Kafka topic."""
    target: str
    key: tuple[str, ...]
    """Columns of the target with a unique constraint over them."""
    columns: tuple[Column, ...]
    conflict: Conflict
    extra_columns: tuple[str, ...] = ()
    """Source columns that the hooks read besides those the columns name."""
    reads_unmasked: tuple[str, ...] = ()
    """Source columns whose values the hooks need, though the policies mask them for the target.
    A hook gets any other such column as a `MaskedValue`."""
    needs_before_image: bool = False
    """The mapping needs the row before the change: the source has REPLICA IDENTITY FULL."""
    on_delete: Action = field(default_factory=Delete)
    """The source row was deleted."""
    on_remove: Action = field(default_factory=Delete)
    """A filter said REMOVE."""
    on_key_change: Action | None = None
    """An update gave the row another target key; None means as `on_remove`."""
    on_truncate: OnTruncate = OnTruncate.STOP
    """The source table was truncated; an event tells so, with no row in it."""
    derived: Derived | None = None
    rules: tuple[Rule, ...] = ()
    """What must hold of every row, besides what the columns say."""
    schedules: tuple[Schedule, ...] = ()
    """When the batch form runs."""
    streaming: bool = True
    """False: the topic is not read, and the batch form alone writes."""
    query: Query | None = None
    """What the batch form reads if it is not the table itself; needs ``streaming=False``."""
    conflict_detection: ConflictDetection | None = None
    """The target's rows are changed by their owner as well."""
    shared_target: bool = False
    """The target has rows that others write: a full batch retires only what this mapping once
    brought."""

    def __post_init__(self) -> None:
        """Write both tables in one way, so that equal ones are equal; faults are told later."""
        for name in ("source", "target"):
            with suppress(ValueError, TypeError):
                object.__setattr__(self, name, str(Table.parse(getattr(self, name))))

    @property
    def source_table(self) -> Table:
        return Table.parse(self.source)

    @property
    def target_table(self) -> Table:
        return Table.parse(self.target)

    @property
    def replaces_rows(self) -> bool:
        """Whether a newer event supersedes older dead letters of its source row.

        It does where `Strategy.replaces_rows` holds, unless the first row of a key leaves something
        behind that later ones do not replace (a column with `insert_only`), or the row before the
        change decides what a conflict is (`conflict_detection`).  `derived` rows are computed from
        whole candidates, so they do not depend on earlier events.
        """
        insert_only = any(column.insert_only and column.sources for column in self.columns)
        return (
            self.conflict.strategy.replaces_rows
            and self.conflict_detection is None
            and not insert_only
        )

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Every source column the mapping uses, each once, in order of first use."""
        used = [name for column in self.columns for name in column.sources]
        ruled = [name for rule in self.rules for name in rule.reads]
        return tuple(dict.fromkeys([*used, *self.extra_columns, *ruled]))
