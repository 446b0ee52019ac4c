"""Read a mapping's source, a table or a query on it, as a stream of lines."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from ..errors import ConfigError, DecodeError
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog, quoted
from ..postgres.type_catalog import resolve_types
from ..postgres.types import PgType
from ..transform.before_image import columns_before
from ..transform.event_source import EventSource
from ..transform.incoming import Shape
from ..transform.key_identity import Ownership, ownership
from ..transform.steps import Chain
from .rows import RowFormat

Connection = psycopg.Connection[Any]

_ESTIMATE = "SELECT greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = to_regclass(%s)"
_NUMBERED = """
SELECT has_column_privilege(oid, 'xmin', 'SELECT') FROM pg_class
WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p')
"""
_BEGINNING = "-infinity"
_MIN_ESTIMATE = 100_000  # a table with fewer rows, by the catalog's estimate, is counted


def row_source(source: Source) -> EventSource:
    """Read the rows of a mapping's batch runs."""
    rows = source.format
    columns = {column.name: column for column in rows.columns}
    shape = Shape(rows.columns, [columns[name] for name in columns_before(source.mapping)])

    def decode(message: Message) -> Decoded | DecodeError:
        try:
            return rows.decode(message.value)
        except DecodeError as error:
            return error

    def own(chain: Chain, target: Mapping[str, PgType]) -> Ownership:
        has_maps = bool(chain.maps)
        return ownership(
            source.mapping, source.catalog, rows.named_key, has_maps=has_maps, target=target
        )

    return EventSource(
        decode=lambda messages: [decode(message) for message in messages],
        shape_of=lambda _value: shape,
        subject=lambda message: ",".join(rows.key_of(message)),
        own=own,
        source_key=rows.key,
        is_batch=True,
    )


@dataclass(frozen=True, kw_only=True)
class Source:
    """The table or the query that a mapping's batch runs read."""

    mapping: TableMapping
    catalog: TableCatalog
    format: RowFormat
    numbered: bool
    """Whether the rows have an `xmin`, the number of their transaction; those of a view do not."""

    @classmethod
    def of(cls, mapping: TableMapping, catalog: TableCatalog, connection: Connection) -> Source:
        """Read the columns.  Raises ConfigError if columns of the mapping are missing."""
        if mapping.query is None:
            found = {name: column.pg for name, column in catalog.columns.items()}
            key = list(catalog.index_order.get(catalog.primary_key, ()))
            if not key:
                raise ConfigError(
                    f"{mapping.source} has no primary key, and batch runs read by it: add one"
                )
        else:
            found = _read_columns(_fill(mapping.query.select, "true", _BEGINNING), connection)
            key = []
        missing = sorted(set(mapping.source_columns) - found.keys())
        if missing:
            raise ConfigError(f"{mapping.source} has no column {', '.join(missing)}")
        types = {name: found[name] for name in mapping.source_columns}
        return cls(
            mapping=mapping,
            catalog=catalog,
            format=RowFormat(mapping.source_table.topic, types, tuple(key)),
            numbered=_has_xmin(catalog, connection),
        )

    def lines(
        self,
        connection: Connection,
        condition: str,
        since: str = _BEGINNING,
        after: Sequence[str] = (),
        most: int | None = None,
    ) -> Generator[bytes, None, None]:
        """Yield the rows that fulfil the condition, by key, after the key `after`."""
        where, order = [], ""
        if self.mapping.query is None:
            where.append(condition)
            order = f" ORDER BY {self._key}"
        if after:
            where.append(f"({self._key}) > ({self._key_literals(after)})")
        if most is not None:
            order += f" LIMIT {most:d}"
        return self._copy(connection, self._relation(condition, since), where, order)

    def up_to(self, key: Sequence[str]) -> str:
        """Return the condition that a row's key is at most this one."""
        return f"({self._key}) <= ({self._key_literals(key)})"

    def read_keys(
        self, connection: Connection, keys: Sequence[Sequence[str]]
    ) -> Generator[bytes, None, None]:
        """Yield the current rows of these keys."""
        key = self.format.key
        arrays = ", ".join(
            f"{_literal([one[at] for one in keys])}::text[]" for at, _ in enumerate(key)
        )
        texts = f"unnest({arrays}) u({_positional_names(key)})"
        where = f"EXISTS (SELECT FROM {texts} WHERE {self._matches(key)})"
        return self._copy(connection, self._relation("true", _BEGINNING), [where], "")

    def has(
        self, connection: Connection, columns: Sequence[str], keys: Sequence[Sequence[str]]
    ) -> set[int]:
        """Return the positions of the keys that the source has now."""
        arrays = [[key[at] for key in keys] for at, _ in enumerate(columns)]
        query = (
            f"SELECT DISTINCT u.n - 1 FROM unnest({', '.join('%s::text[]' for _ in columns)}) "
            f"WITH ORDINALITY u({_positional_names(columns)}, n) "
            f"JOIN {self.catalog.sql_name} r ON {self._matches(columns)}"
        )
        return {number for (number,) in connection.execute(query.encode(), arrays).fetchall()}

    def _matches(self, columns: Sequence[str]) -> str:
        """Return the condition that a row `r` has the values of `u` in these columns.

        `u` has texts, because unnest would also expand the values of an array type.
        """
        types = [self.catalog.columns[name].pg for name in columns]
        return " AND ".join(
            f"r.{quoted(name)} = {pg.read(f'u.k{at}')}"
            for at, (name, pg) in enumerate(zip(columns, types, strict=True))
        )

    def estimate(self, connection: Connection, condition: str, since: str = _BEGINNING) -> int:
        """Return an estimate of the number of rows."""
        if self.mapping.query is None and condition == "true":
            row = connection.execute(_ESTIMATE, (self.catalog.sql_name,)).fetchone()
            if row is not None and row[0] > _MIN_ESTIMATE:
                return int(row[0])
        return self.count(connection, condition, since)

    def count(self, connection: Connection, condition: str, since: str = _BEGINNING) -> int:
        """Return the number of rows."""
        where = "" if self.mapping.query else f" WHERE {condition}"
        query = f"SELECT count(*) FROM {self._relation(condition, since)}{where}"
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def between(self, since: datetime | None, until: datetime | None) -> str:
        """Return the condition that a row's time, its version column, is in the range."""
        column = self._find_time_column()
        if column is None:
            return self._by_query(until)
        bounds = [f"{column} {sign} {_literal(str(at))}" for sign, at in _bounds(since, until)]
        return f"({' AND '.join(bounds)})"

    def _by_query(self, until: datetime | None) -> str:
        query = self.mapping.query
        if query is not None and "{since}" in query.select and until is None:
            return "false"  # the query itself selects the rows of that time
        raise ConfigError(
            f"--since and --until need a time: {self.mapping.source} has neither updated_at "
            "nor created_at, and the mapping's conflict rule names no version column"
        )

    def _find_time_column(self) -> str | None:
        version = self.mapping.conflict.version
        names = [n for c in self.mapping.columns if c.name == version for n in c.sources]
        known = [
            name
            for name in [*names, "updated_at", "created_at"]
            if (column := self.catalog.columns.get(name))
            and column.pg.is_builtin("timestamp", "timestamptz")
        ]
        return quoted(known[0]) if known else None

    def _relation(self, condition: str, since: str) -> str:
        query = self.mapping.query
        if query is None:
            return f"{self.catalog.sql_name} r"
        return f"({_fill(query.select, condition, since)}) r"

    def _copy(
        self, connection: Connection, relation: str, where: Sequence[str], order: str
    ) -> Generator[bytes, None, None]:
        conditions = f" WHERE {' AND '.join(where)}" if where else ""
        query = f"SELECT {self.format.select} FROM {relation}{conditions}{order}"
        with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as it:
            for line in it:
                yield bytes(line)[:-1]

    @property
    def _key(self) -> str:
        return ", ".join(f"r.{quoted(name)}" for name in self.format.key)

    def _key_literals(self, key: Sequence[str]) -> str:
        return ", ".join(
            f"{_literal(text)}::{self._type(name)}"
            for text, name in zip(key, self.format.key, strict=True)
        )

    def _type(self, column: str) -> str:
        return self.catalog.columns[column].pg.unbound_cast


def _positional_names(columns: Sequence[str]) -> str:
    return ", ".join(f"k{at}" for at, _ in enumerate(columns))


def _bounds(since: datetime | None, until: datetime | None) -> Iterator[tuple[str, datetime]]:
    if since is not None:
        yield ">=", since
    if until is not None:
        yield "<", until


def _fill(select: str, condition: str, since: str) -> str:
    """Return a query with its placeholders replaced."""
    filled = select.strip().rstrip(";").replace("{changed}", condition)
    return filled.replace("{since}", f"{_literal(since)}::timestamp")


def _literal(value: str | list[str]) -> str:
    return sql.Literal(value).as_string(None)


def _read_columns(query: str, connection: Connection) -> dict[str, PgType]:
    cursor = connection.execute(f"SELECT * FROM ({query}) r LIMIT 0".encode())
    result, names = cursor.pgresult, [column.name for column in cursor.description or ()]
    assert result is not None
    wanted = [(result.ftype(at), result.fmod(at)) for at, _ in enumerate(names)]
    types = resolve_types(connection, wanted)
    return {name: types[one] for name, one in zip(names, wanted, strict=True)}


def _has_xmin(catalog: TableCatalog, connection: Connection) -> bool:
    row = connection.execute(_NUMBERED, (catalog.sql_name,)).fetchone()
    if row is not None and not row[0]:
        raise ConfigError(
            f"no right to read xmin of {catalog.sql_name}, by which changed rows are found: "
            f"GRANT SELECT (xmin) ON {catalog.sql_name} TO {connection.info.user}"
        )
    return row is not None
