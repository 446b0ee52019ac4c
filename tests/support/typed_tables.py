"""Tables of the real stack that hold every type and value of `type_values`, one for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from sink_stack.settings import Settings
from sink_stack.stack import Options
from sink_stack.topics import Topic

from . import type_values as listed
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
# PostgreSQL 17, which the stack runs, has infinite intervals; the unit tests' server may not.
_NEWER = {"interval": ("infinity", "-infinity")}


_TABLES = {"BINARY": "binaries"}  # the word is reserved


def _newer(values: TypeValues) -> TypeValues:
    more = _NEWER.get(values.name, ())
    return replace(values, literals=(*values.literals, *more))


GROUPS: Mapping[str, tuple[TypeValues, ...]] = {
    _TABLES.get(name, name.lower()): tuple(_newer(values) for values in getattr(listed, name))
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
        "MADE",
    )
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One column: a type in a shape."""

    values: TypeValues
    shape: Shape

    @property
    def name(self) -> str:
        return f"{self.values.name}__{self.shape.value}"

    @property
    def type_sql(self) -> str:
        return type_sql(self.values, self.shape)

    def literals(self) -> list[str]:
        """The literals of this column, one a row."""
        all_ = self.values.all_literals()
        shaped = [
            shaped_literal(self.values, self.shape, one, all_[(number + 1) % len(all_)])
            for number, one in enumerate(all_)
        ]
        return [*shaped, *empty_literals(self.shape)]


def cells(group: str) -> list[Cell]:
    """The columns of a group's table."""
    return [Cell(values, shape) for values in GROUPS[group] for shape in Shape]


def rows(group: str) -> Iterator[dict[str, str]]:
    """For each row the literals of its columns; a column that has no more of them is left out."""
    lists = {cell.name: cell.literals() for cell in cells(group)}
    for number in range(max(map(len, lists.values()))):
        yield {name: found[number] for name, found in lists.items() if number < len(found)}


def insert(group: str, number: int, row: Mapping[str, str]) -> str:
    """The statement that inserts one row of literals."""
    columns = ", ".join(f'"{name}"' for name in row)
    literals = ", ".join(map(literal_sql, row.values()))
    return f"INSERT INTO {SCHEMA}.{group} (id, {columns}) VALUES ({number}, {literals})"


def texts(connection: psycopg.Connection[Any], group: str) -> dict[int, dict[str, str | None]]:
    """What a table holds, as PostgreSQL prints it."""
    names = [cell.name for cell in cells(group)]
    listed_ = ", ".join(f'"{name}"::text' for name in names)
    query = f"SELECT id, {listed_} FROM {SCHEMA}.{group} ORDER BY id"
    return {
        number: dict(zip(names, found, strict=True))
        for number, *found in connection.execute(query.encode()).fetchall()
    }


def create(connection: psycopg.Connection[Any]) -> None:
    """The types, the domains and the tables, in a schema of their own."""
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
        columns = ", ".join(f'"{cell.name}" {cell.type_sql}' for cell in cells(group))
        connection.execute(f"CREATE TABLE {group} (id int PRIMARY KEY, {columns})".encode())
    connection.execute(b"SET search_path = public")


def capture(prepare: Callable[[Settings], None], *, partitions: int = 1) -> Options:
    """What the stack has to know of these tables."""
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
