"""Cases with every type, shape and value; a table has at most sixty columns of one group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...support import typed_tables as typed
from ...support.type_shapes import domains, literal_sql, shaped_literal
from ...support.typed_tables import TypedColumn
from .model import Case, plugin_code
from .order import SNAPSHOT_SIGNAL

SCHEMA = "matrix"
_MAX_COLUMNS = 60
_FIRST_EQUAL_ID = 1000
"""The first id of the rows that are updated to an equal value with another representation."""


def matrix_cases() -> Iterator[Case]:
    for group in typed.GROUPS:
        columns = typed.columns(group)
        parts = [columns[at : at + _MAX_COLUMNS] for at in range(0, len(columns), _MAX_COLUMNS)]
        for number, part in enumerate(parts):
            yield _case(group, number, part)


def _case(group: str, number: int, columns: Sequence[TypedColumn]) -> Case:
    table = f"{group}_{number}"
    name = f"{SCHEMA}.{table}"
    names = [column.name for column in columns]
    definitions = ", ".join(f'"{column.name}" {column.type_sql}' for column in columns)
    types = [f"SET search_path = {SCHEMA}, extras", *(_types(group) if number == 0 else ())]
    ddl = [*types, f"CREATE TABLE {name} (id int PRIMARY KEY, {definitions})", "RESET search_path"]
    selected = ", ".join(f'"{one}"::text' for one in names)
    return Case(
        name=table.replace("_", "-"),
        schema=SCHEMA,
        source=ddl,
        target=ddl,
        tables=[table],
        mappings={
            table.replace("_", "-"): plugin_code(table, ("id", *names), schema=SCHEMA),
        },
        steps=[
            [*_inserts(name, columns), *_equal_value_inserts(name, columns)],
            [*_equal_value_updates(name, columns), f"DELETE FROM {name} WHERE id = 0"],
            [SNAPSHOT_SIGNAL.format(table=name)],
        ],
        between={
            2: [
                f"DELETE FROM {name} WHERE id % 2 = 0",
                f"UPDATE {name} SET " + ", ".join(f'"{one}" = NULL' for one in names),
            ]
        },
        show=f"SELECT id, {selected} FROM {name} ORDER BY id",
    )


def _types(group: str) -> Iterator[str]:
    for values in typed.GROUPS[group]:
        if values.setup:
            yield values.setup
        yield from domains(values)


def _inserts(table: str, columns: Sequence[TypedColumn]) -> Iterator[str]:
    """A row for each literal; columns with fewer literals are NULL in the last rows."""
    lists = {column.name: column.literals() for column in columns}
    for number in range(max(map(len, lists.values()))):
        row = {name: found[number] for name, found in lists.items() if number < len(found)}
        yield _insert(table, number, row)


def _equal_value_inserts(table: str, columns: Sequence[TypedColumn]) -> Iterator[str]:
    for number, pairs in enumerate(_pairs(columns)):
        row = {name: one for name, (one, _) in pairs.items()}
        yield _insert(table, _FIRST_EQUAL_ID + number, row)


def _equal_value_updates(table: str, columns: Sequence[TypedColumn]) -> Iterator[str]:
    for number, pairs in enumerate(_pairs(columns)):
        for name, (_, other) in pairs.items():
            yield (
                f'UPDATE {table} SET "{name}" = {literal_sql(other)} '
                f"WHERE id = {_FIRST_EQUAL_ID + number}"
            )


def _pairs(columns: Sequence[TypedColumn]) -> list[dict[str, tuple[str, str]]]:
    """For each row, the two equal values of each column that has such a pair."""
    found: list[dict[str, tuple[str, str]]] = []
    for column in columns:
        for number, (one, other) in enumerate(column.values.equal_pairs):
            while len(found) <= number:
                found.append({})
            found[number][column.name] = (_shaped_sql(column, one), _shaped_sql(column, other))
    return found


def _shaped_sql(column: TypedColumn, literal: str) -> str:
    return shaped_literal(column.values, column.shape, literal, literal)


def _insert(table: str, number: int, row: dict[str, str]) -> str:
    columns = ", ".join(f'"{name}"' for name in row)
    literals = ", ".join(map(literal_sql, row.values()))
    return f"INSERT INTO {table} (id, {columns}) VALUES ({number}, {literals})"
