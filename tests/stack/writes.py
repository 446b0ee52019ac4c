"""INSERT, UPDATE and DELETE statements for rows given as dictionaries."""

from collections.abc import Callable, Mapping
from typing import Any, LiteralString

import psycopg
from psycopg import sql

Remember = Callable[[], None]
"""Updates the load's known state; called after the transaction is committed."""
Action = Callable[[psycopg.Connection], Remember | None]


def insert(connection: psycopg.Connection, table: str, row: Mapping[str, Any]) -> None:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        _table(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    connection.execute(statement, list(row.values()))


def update(
    connection: psycopg.Connection, table: str, key: tuple[str, Any], row: Mapping[str, Any]
) -> None:
    statement = sql.SQL("UPDATE {} SET {} WHERE {} = %s").format(
        _table(table),
        sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in row),
        sql.Identifier(key[0]),
    )
    connection.execute(statement, [*row.values(), key[1]])


def delete(connection: psycopg.Connection, table: str, key: tuple[str, Any]) -> None:
    statement = sql.SQL("DELETE FROM {} WHERE {} = %s")
    connection.execute(statement.format(_table(table), sql.Identifier(key[0])), [key[1]])


def column(connection: psycopg.Connection, query: LiteralString) -> list[Any]:
    """Return the values of a query's only column."""
    found = connection.execute(sql.SQL(query))
    return [value for (value,) in found]


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))
