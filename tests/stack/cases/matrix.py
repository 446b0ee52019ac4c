"""Every type, shape and value as cases: one table for at most sixty columns of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...support import typed_tables as typed
from ...support.type_shapes import domains, literal_sql, shaped_literal
from ...support.typed_tables import Cell
from .model import Case, mapping
from .order import SIGNAL

SCHEMA = "matrix"
_MOST = 60
_RESPELLED = 1000
"""The first id of the rows that are updated to an equal value with another spelling."""


def matrix() -> Iterator[Case]:
    for group in typed.GROUPS:
        cells = typed.cells(group)
        parts = [cells[at : at + _MOST] for at in range(0, len(cells), _MOST)]
        for number, part in enumerate(parts):
            yield _case(group, number, part)


def _case(group: str, number: int, cells: Sequence[Cell]) -> Case:
    table = f"{group}_{number}"
    name = f"{SCHEMA}.{table}"
    names = [cell.name for cell in cells]
    columns = ", ".join(f'"{cell.name}" {cell.type_sql}' for cell in cells)
    made = [f"SET search_path = {SCHEMA}, extras", *(_types(group) if number == 0 else ())]
    ddl = [*made, f"CREATE TABLE {name} (id int PRIMARY KEY, {columns})", "RESET search_path"]
    selected = ", ".join(f'"{one}"::text' for one in names)
    return Case(
        name=table.replace("_", "-"),
        schema=SCHEMA,
        source=ddl,
        target=ddl,
        tables=[table],
        mappings={
            table.replace("_", "-"): mapping(table, ("id", *names), schema=SCHEMA),
        },
        steps=[
            [*_inserts(name, cells), *_respelled_inserts(name, cells)],
            [*_respelled_updates(name, cells), f"DELETE FROM {name} WHERE id = 0"],
            [SIGNAL.format(table=name)],
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


def _inserts(table: str, cells: Sequence[Cell]) -> Iterator[str]:
    """A row for each literal; a column that has no more of them is NULL."""
    lists = {cell.name: cell.literals() for cell in cells}
    for number in range(max(map(len, lists.values()))):
        row = {name: found[number] for name, found in lists.items() if number < len(found)}
        yield _insert(table, number, row)


def _respelled_inserts(table: str, cells: Sequence[Cell]) -> Iterator[str]:
    for number, pairs in enumerate(_pairs(cells)):
        row = {name: one for name, (one, _) in pairs.items()}
        yield _insert(table, _RESPELLED + number, row)


def _respelled_updates(table: str, cells: Sequence[Cell]) -> Iterator[str]:
    for number, pairs in enumerate(_pairs(cells)):
        for name, (_, other) in pairs.items():
            yield (
                f'UPDATE {table} SET "{name}" = {literal_sql(other)} '
                f"WHERE id = {_RESPELLED + number}"
            )


def _pairs(cells: Sequence[Cell]) -> list[dict[str, tuple[str, str]]]:
    """For each row the two spellings of each column that has such a pair."""
    found: list[dict[str, tuple[str, str]]] = []
    for cell in cells:
        for number, (one, other) in enumerate(cell.values.respelled):
            while len(found) <= number:
                found.append({})
            found[number][cell.name] = (_shaped(cell, one), _shaped(cell, other))
    return found


def _shaped(cell: Cell, literal: str) -> str:
    return shaped_literal(cell.values, cell.shape, literal, literal)


def _insert(table: str, number: int, row: dict[str, str]) -> str:
    columns = ", ".join(f'"{name}"' for name in row)
    literals = ", ".join(map(literal_sql, row.values()))
    return f"INSERT INTO {table} (id, {columns}) VALUES ({number}, {literals})"
