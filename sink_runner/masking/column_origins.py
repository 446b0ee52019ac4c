"""Find the table's column behind each column of a query's result, by PostgreSQL's metadata.

PostgreSQL follows subqueries, joins and common table expressions down to the column of a table or
a view, whatever its alias is.  An expression, a UNION and the result of a function have no column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from ..config.database import find_database
from ..config.dsn import Dsn
from ..errors import ConfigError, SinkError
from ..plugin import Lookup, Table, TableMapping
from ..postgres.catalog import qualified, quoted
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from .origins import Origin, Origins
from .policy import ColumnName

_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, format_type(o.type, o.modifier),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM unnest(%s::oid[], %s::int[], %s::oid[], %s::int[]) WITH ORDINALITY
  AS o (relation, place, type, modifier, at)
LEFT JOIN pg_attribute a ON a.attrelid = o.relation AND a.attnum = o.place AND o.place > 0
LEFT JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY o.at
"""


class ResultColumn(NamedTuple):
    """A column of a query's result."""

    name: str
    path: tuple[ColumnName, ...]
    """The column of a table or view, then the one that the view shows; empty for an expression."""
    type: str
    is_table: bool
    """Whether the path ends with the column of a table."""


def result_columns(
    connection: psycopg.Connection[Any], database: str, result: PGresult
) -> list[ResultColumn]:
    """Return the columns of a result, in their order."""
    described = [
        [describe(at) for at in range(result.nfields)]
        for describe in (result.ftable, result.ftablecol, result.ftype, result.fmod)
    ]
    found = []
    rows = connection.execute(_COLUMNS, described).fetchall()
    for at, (schema, table, column, type_, view) in enumerate(rows):
        path = () if column is None else (ColumnName(database, schema, table, column),)
        is_table = column is not None and view is None
        if view is not None:
            columns = _describe_query(connection, database, view)
            if columns is not None:  # None: the role may not read the view's own tables
                origin = columns[result.ftablecol(at) - 1]
                path, is_table = (*path, *origin.path), origin.is_table
        name = result.fname(at) or b""
        found.append(ResultColumn(name.decode(), path, type_, is_table))
    return found


def _describe_query(
    connection: psycopg.Connection[Any], database: str, query: str
) -> list[ResultColumn] | None:
    """Return the columns of a query without running it; None if it cannot be prepared."""
    session = connection.pgconn
    if session.prepare(b"", query.encode()).status != ExecStatus.COMMAND_OK:
        return None
    return result_columns(connection, database, session.describe_prepared(b""))


def read_origins(
    mapping: TableMapping, dsns: Mapping[str, Dsn | str], *, strict: bool = True
) -> Origins:
    """Read the origins of a mapping's values from the databases; `dsns` have the role that reads.

    Without `strict` an unclassified column of the source is permitted; one that a lookup finds is
    refused nevertheless, since no other check warns of it.
    Raises ConfigError for a query that does not run, RetriableError for an outage.
    """
    with _origin_reader(dsns) as reader:
        columns = reader.source(mapping)
        return Origins(
            sources={
                name: [replace(origin, strict=strict) for origin in found]
                for name, found in reader.source_origins(mapping, columns).items()
            },
            lookups=reader.lookups(mapping),
            types={column.name: column.type for column in columns},
        )


def read_known_origins(
    mappings: Mapping[str, TableMapping],
    readers: Callable[[], Mapping[str, Dsn]],
    *,
    strict: bool,
) -> tuple[dict[str, Origins], list[str]]:
    """Return where values come from, as the databases say, and a warning for what they did not."""
    found, warnings = {}, []
    for name, mapping in mappings.items():
        try:
            found[name] = read_origins(mapping, readers(), strict=strict)
        except SinkError as fault:
            if mapping.query or any(column.lookups for column in mapping.columns):
                warnings.append(
                    f"mapping {name!r}: what its lookups or query find was not checked: {fault}"
                )
    return found, warnings


def lookup_origins(mapping: TableMapping, dsns: Mapping[str, Dsn | str]) -> dict[str, list[Origin]]:
    """Return the origins of the values that each lookup column finds; as `read_origins`."""
    with _origin_reader(dsns) as reader:
        return reader.lookups(mapping)


@contextmanager
def _origin_reader(dsns: Mapping[str, Dsn | str]) -> Iterator[_OriginReader]:
    with ExitStack() as stack:

        @cache
        def session(database: str) -> Connection:
            dsn = find_database(dsns, database)
            return stack.enter_context(connect(dsn, "sink-runner origins"))

        with classified_errors():
            yield _OriginReader(session)


class _OriginReader(NamedTuple):
    """Reads origins with sessions that are opened when they are needed."""

    session: Callable[[str], Connection]

    def source(self, mapping: TableMapping) -> list[ResultColumn]:
        """Return the columns of the mapping's source: of its query, otherwise of its table."""
        table, query = mapping.source_table, mapping.query
        text = f"SELECT * FROM {qualified(table.schema, table.name)}"
        if query is not None:
            text = query.select.replace("{changed}", "true")
            text = text.replace("{since}", "'-infinity'::timestamp")
        found = _describe_query(self.session(table.database), table.database, text)
        if found is None:
            raise ConfigError(f"source {mapping.source} or the mapping's query cannot be read")
        return found

    def source_origins(
        self, mapping: TableMapping, columns: Sequence[ResultColumn]
    ) -> dict[str, list[Origin]]:
        """Return the origins of the columns of a query or view; a table's are its columns."""
        query = mapping.query
        if query is None:
            made_of: Mapping[str, tuple[str, ...]] = {}
            what, way = f"view {mapping.source}", "the view's own column in classification.json"
        else:
            made_of = query.made_of
            what = "mapping's query"
            way = 'Query(made_of={"column": ("database.schema.table.column",)})'
        return {
            found.name: self._origins(
                found,
                made_of.get(found.name, ()),
                f"column {found.name!r} of the {what} is computed",
                way,
            )
            for found in columns
            if query is not None or len(found.path) > 1 or not found.is_table
        }

    def lookups(self, mapping: TableMapping) -> dict[str, list[Origin]]:
        """Return the origins of the values that the last lookup of each column finds."""
        return {
            column.name: self._lookup(column.name, column.lookups[-1])
            for column in mapping.columns
            if column.lookups
        }

    def _lookup(self, column: str, lookup: Lookup) -> list[Origin]:
        empty: list[Any] = [[] for _ in range(lookup.query.count("%s"))]
        return self._origins(
            self._found(lookup, empty)[-1],
            lookup.made_of,
            f"what the lookup of column {column!r} finds in database {lookup.database} is computed",
            'Lookup(made_of=("database.schema.table.column",))',
        )

    def _found(self, lookup: Lookup, nothing: Sequence[Any]) -> list[ResultColumn]:
        connection = self.session(lookup.database)
        text = f"SELECT * FROM (\n{lookup.query.strip().rstrip(';')}\n) found LIMIT 0"
        result = connection.execute(text.encode(), nothing).pgresult
        assert result is not None
        return result_columns(connection, lookup.database, result)

    def _origins(
        self, found: ResultColumn, made_of: Sequence[str], computed: str, way: str
    ) -> list[Origin]:
        """Return the origin that the database knows, otherwise those that the mapping declares."""
        if found.is_table:
            return [Origin(path=found.path, type=found.type)]
        if made_of:
            return [self._declared(found, text) for text in made_of]
        fault = (
            f"{computed}: it comes from no column that PostgreSQL could name, so no policy decides "
            f"on it; select a column as it is, or declare what it is made of by {way}"
        )
        return [Origin(path=found.path, type=found.type, computed=fault)]

    def _declared(self, found: ResultColumn, text: str) -> Origin:
        table, _, column = text.rpartition(".")
        try:
            name = Table.parse(table)
        except ValueError:
            raise ConfigError(f"made_of: {text!r} is not database.schema.table.column") from None
        query = f"SELECT {quoted(column)} FROM {qualified(name.schema, name.name)}"
        known = _describe_query(self.session(name.database), name.database, query)
        if known is None:
            raise ConfigError(f"made_of: column {text} does not exist; correct it in the plugin")
        (column_origin,) = known
        return Origin(
            path=(*found.path, *column_origin.path),
            type=column_origin.type,
            computed=""
            if column_origin.is_table
            else f"made_of: {text} is itself computed by a view",
        )
