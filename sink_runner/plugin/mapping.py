"""The declaration of a mapping: source, target, columns, conflict rule, batch runs."""

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
    """The full name of a table: database, schema and name."""

    database: str
    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read ``database.schema.table``.

        A part may contain any character.  If it contains a dot or a double quote, write it in
        double quotes as in SQL: ``shop."my.schema"."order items"``.
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

        Two tables may have the same topic; the preflight refuses their mappings.
        """
        name = f"{self.database}.{self.schema}.{self.name}"
        return _INVALID_IN_TOPIC.sub("_", name)[:_MAX_TOPIC_LENGTH]

    def __str__(self) -> str:
        return ".".join(map(_quoted, (self.database, self.schema, self.name)))


_PART = re.compile(r'"(?:[^"]|"")+"|[^."]+')
_INVALID_IN_TOPIC = re.compile(r"[^A-Za-z0-9._-]")
_MAX_TOPIC_LENGTH = 249


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Target rows that are derived from several source rows, which are kept as candidates.

    The mapping's `columns` describe the candidate table, whose primary key is `key`.  `select` is
    the SQL that derives the target's rows.  It may use ``{candidates}``, the masked rows of the
    groups to derive, and ``{now}``, a timestamp in UTC, and must return the target's columns by
    name.  Each candidate also has the columns ``_position``, the LSN of its last change (NULL if
    the event had none), and ``_ordinal``, which is internal.  When a candidate changes or is older
    than `expire_after`, its group is derived again, in one transaction.
    """

    key: tuple[str, ...]
    group: tuple[str, ...]
    """Columns of both the candidate table and the target: rows are derived for each group of equal
    values."""
    select: str
    expire_column: str | None = None
    expire_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When batch runs start automatically."""

    cron: str
    """Five fields, UTC."""
    full: bool = field(default=False, kw_only=True)
    """True: a full run, which also removes target rows that the source does not have.  False: an
    incremental run."""
    expected: timedelta = field(default=timedelta(hours=1), kw_only=True)
    """A run that takes longer is late."""
    expected_rows: int | None = field(default=None, kw_only=True)
    """How many rows a run reads as a rule.  An alert fires at twice as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query in the source database that batch runs read instead of the source table.

    `select` may use ``{changed}``, a condition on a row of the source table (true for all rows,
    or for those written since the last run), and ``{since}``, the start of the last run
    (``-infinity`` before the first).  Its columns are the mapping's source columns.
    """

    select: str
    replaces: tuple[str, ...] = ()
    """Columns of the target.  A batch run replaces all target rows that have the same values in
    them as one of the query's rows: it removes those that the query no longer returns."""
    made_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each computed column of the query, the columns (``database.schema.table.column``) whose
    masking policies it gets.  A column of a table has its own policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMapping:
    """Maps a source table to a target table."""

    source: str
    """``database.schema.table``; `Table.topic` is its Kafka topic."""
    target: str
    key: tuple[str, ...]
    """Columns of the target that a unique constraint covers."""
    columns: tuple[Column, ...]
    conflict: Conflict
    extra_columns: tuple[str, ...] = ()
    """Source columns that the hooks read, besides those of `columns`."""
    reads_unmasked: tuple[str, ...] = ()
    """Source columns that hooks read unmasked although the policies mask them for the target.
    Hooks get any other such column as a `MaskedValue`."""
    needs_before_image: bool = False
    """Events must have the before image: the source table needs REPLICA IDENTITY FULL."""
    on_delete: Action = field(default_factory=Delete)
    """What to do when the source row is deleted."""
    on_remove: Action = field(default_factory=Delete)
    """What to do when a filter returns REMOVE."""
    on_key_change: Action | None = None
    """What to do with a row's previous key when an update changes the key; None: as `on_remove`."""
    on_truncate: OnTruncate = OnTruncate.STOP
    """What to do when the source table is truncated."""
    derived: Derived | None = None
    rules: tuple[Rule, ...] = ()
    """Quality rules for rows, besides those of the columns."""
    schedules: tuple[Schedule, ...] = ()
    """When batch runs start automatically."""
    expected_per_day: int | None = None
    """How many events a day has as a rule.  An alert fires at twice as many."""
    streaming: bool = True
    """False: the topic is not read, and only batch runs write."""
    query: Query | None = None
    """What batch runs read instead of the table; needs ``streaming=False``."""
    conflict_detection: ConflictDetection | None = None
    """Set it if other programs change the target's rows, too."""
    shared_target: bool = False
    """Other programs add rows to the target: a full batch run removes only rows that this mapping
    has written."""

    def __post_init__(self) -> None:
        """Normalise the names of both tables; the mapping's checks report an invalid name."""
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

        It does if `Strategy.replaces_rows` is true, with two exceptions: later events do not
        replace a column with `insert_only`, and `conflict_detection` depends on the before image.
        `derived` rows are computed from whole candidates, so they do not depend on earlier events.
        """
        insert_only = any(column.insert_only and column.sources for column in self.columns)
        return (
            self.conflict.strategy.replaces_rows
            and self.conflict_detection is None
            and not insert_only
        )

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Return every source column that the mapping uses, once, in the order of first use."""
        used = [name for column in self.columns for name in column.sources]
        ruled = [name for rule in self.rules for name in rule.reads]
        return tuple(dict.fromkeys([*used, *self.extra_columns, *ruled]))
