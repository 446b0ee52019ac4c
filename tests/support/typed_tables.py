"""Tables, one for each group, with a column of every type and shape and rows with every value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from sink_stack.settings import Settings
from sink_stack.stack import Options
from sink_stack.topics import Topic

from . import type_values
from .type_shapes import (
    Shape,
    domains,
    empty_literals,
    literal_sql,
    shaped_literal,
    type_sql,
)
from .type_values import EXTENSION_NAMES, TypeValues

SCHEMA = "typed"
# Infinite intervals need PostgreSQL 17, which the stack runs; tests/postgres may run an older one.
_SINCE_17 = {"interval": ("infinity", "-infinity")}
# BINARY is a reserved word; the recordings under tests/fixtures have the table `made`.
_TABLE_NAMES = {"BINARY": "binaries", "USER_DEFINED": "made"}


def _with_new_literals(values: TypeValues) -> TypeValues:
    return replace(values, literals=(*values.literals, *_SINCE_17.get(values.name, ())))


GROUPS: Mapping[str, tuple[TypeValues, ...]] = {
    _TABLE_NAMES.get(name, name.lower()): tuple(
        _with_new_literals(values) for values in getattr(type_values, name)
    )
    for name in (
        "NUMBERS",
        "TEXTS",
        "BINARY",
        "TIMES",
        "DOCUMENTS",
        "GEOMETRY",
        "NETWORK",
        "RANGES",
        "SYSTEM",
        "EXTENSIONS",
        "USER_DEFINED",
    )
}


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column: a type and its shape."""

    values: TypeValues
    shape: Shape

    @property
    def name(self) -> str:
        return f"{self.values.name}__{self.shape.value}"

    @property
    def type_sql(self) -> str:
        return type_sql(self.values, self.shape)

    def literals(self) -> list[str]:
        """Return the literals of this column, one for each row."""
        literals = self.values.all_literals()
        shaped = [
            shaped_literal(self.values, self.shape, one, literals[(number + 1) % len(literals)])
            for number, one in enumerate(literals)
        ]
        return [*shaped, *empty_literals(self.shape)]


def columns(group: str) -> list[TypedColumn]:
    """Return the columns of a group's table."""
    return [TypedColumn(values, shape) for values in GROUPS[group] for shape in Shape]


def rows(group: str) -> Iterator[dict[str, str]]:
    """Yield the literals of each row by column, without the columns that have fewer literals."""
    lists = {column.name: column.literals() for column in columns(group)}
    for number in range(max(map(len, lists.values()))):
        yield {name: found[number] for name, found in lists.items() if number < len(found)}


def insert_statement(group: str, number: int, row: Mapping[str, str]) -> str:
    """Return the statement that inserts one row of literals."""
    names = ", ".join(f'"{name}"' for name in row)
    literals = ", ".join(map(literal_sql, row.values()))
    return f"INSERT INTO {SCHEMA}.{group} (id, {names}) VALUES ({number}, {literals})"


def read_texts(connection: psycopg.Connection[Any], group: str) -> dict[int, dict[str, str | None]]:
    """Return the rows of a table by id, each value as PostgreSQL prints it."""
    names = [column.name for column in columns(group)]
    outputs = ", ".join(f'"{name}"::text' for name in names)
    query = f"SELECT id, {outputs} FROM {SCHEMA}.{group} ORDER BY id"
    return {
        number: dict(zip(names, found, strict=True))
        for number, *found in connection.execute(query.encode()).fetchall()
    }


def create_tables(connection: psycopg.Connection[Any]) -> None:
    """Create the types, the domains and the tables in the schema `typed`."""
    connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())
    connection.execute(b"CREATE SCHEMA IF NOT EXISTS extras")
    connection.execute(f"SET search_path = {SCHEMA}, extras".encode())
    for extension in EXTENSION_NAMES:
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA extras".encode())
    for group, members in GROUPS.items():
        for values in members:
            for statement in (values.setup, *domains(values)):
                if statement:
                    connection.execute(statement.encode())
        definitions = ", ".join(f'"{one.name}" {one.type_sql}' for one in columns(group))
        connection.execute(f"CREATE TABLE {group} (id int PRIMARY KEY, {definitions})".encode())
    connection.execute(b"SET search_path = public")


def capture_options(prepare: Callable[[Settings], None], *, partitions: int = 1) -> Options:
    """Return the stack's options that capture these tables."""
    tables = [f"{SCHEMA}.{group}" for group in GROUPS]
    return Options(
        extra_tables={"warehouse": tables},
        extra_topics=[
            Topic(
                name=f"smart_warehouse.{table}",
                key=["id"],
                partitions=partitions,
                retention_days=1,
            )
            for table in tables
        ],
        prepare=prepare,
    )
