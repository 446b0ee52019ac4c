"""One case: two tables, a mapping, changes in steps, and what has to come of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SCHEMA = "cases"
SOURCE, TARGET = "smart_warehouse", "smart_citizen"
_ILLEGAL = re.compile(r"[^A-Za-z0-9._-]")
_MAPPING = """
from sink_runner.plugin import *


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="{source}",
        target="{target}",
        key={key!r},
        conflict={conflict},
        columns=({columns}),
        {more}
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is made, what is changed, and what is right.

    Without `refusal` and `rows` the target has to show what the source shows.
    """

    name: str
    schema: str = SCHEMA
    source: Sequence[str]
    target: Sequence[str]
    tables: Sequence[str]
    """The tables to capture, as SQL names them, without their schema."""
    mappings: Mapping[str, str]
    """The code of each plugin, by the mapping's name."""
    steps: Sequence[Sequence[str]]
    """Statements for the source; a step begins when all of the one before is applied."""
    show: str
    """The query that both databases answer."""
    between: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Statements for the target, before the step of that number."""
    partitions: int = 1
    rows: Sequence[tuple[object, ...]] | None = None
    """What the target has to show where it is not what the source shows."""
    refusal: Sequence[str] = ()
    """Words of the reason for which the mapping is quarantined, or stops."""
    dead_letters: Sequence[str] = ()
    """For each dead letter a word that its message holds."""

    def topics(self) -> dict[str, int]:
        """Topics as Debezium names them, and their partitions."""
        return {
            _ILLEGAL.sub("_", f"{SOURCE}.{self.schema}.{table.strip(chr(34))}"): self.partitions
            for table in self.tables
        }


def mapping(
    table: str,
    columns: Sequence[str],
    *,
    key: Sequence[str] = ("id",),
    conflict: str = "source_wins()",
    more: str = "",
    schema: str = SCHEMA,
) -> str:
    """The code of a plugin that maps a table to its namesake."""
    return _MAPPING.format(
        source=f"{SOURCE}.{schema}.{table}",
        target=f"{TARGET}.{schema}.{table}",
        key=tuple(key),
        conflict=conflict,
        columns="".join(f"Column({name!r}), " for name in columns),
        more=more,
    )


def case(
    name: str,
    ddl: str,
    *steps: Sequence[str],
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    target_ddl: str | None = None,
    target_after: Sequence[str] = (),
    key: Sequence[str] = ("id",),
    conflict: str = "source_wins()",
    more: str = "",
    show: str | None = None,
    **rest: object,
) -> Case:
    """A case of one table that is named for it; `ddl` has its columns.

    `before` makes types in both databases; `after` and `target_after` alter the one table.
    `{t}` in a statement is the table.
    """
    table = name.replace("-", "_")
    columns = _columns(ddl)
    qualified = f"{SCHEMA}.{table}"
    selected = ", ".join(f"{column}::text" for column in columns)
    filled = [[one.replace("{t}", qualified) for one in step] for step in steps]
    return Case(
        name=name,
        source=[*before, f"CREATE TABLE {qualified} ({ddl})", *_named(after, qualified)],
        target=[
            *before,
            f"CREATE TABLE {qualified} ({target_ddl or ddl})",
            *_named(target_after, qualified),
        ],
        tables=[table],
        mappings={name: mapping(table, columns, key=key, conflict=conflict, more=more)},
        steps=filled,
        show=show or f"SELECT {selected} FROM {qualified} ORDER BY {', '.join(key)}",
        **rest,  # type: ignore[arg-type] - the fields of Case, by their names
    )


def _named(statements: Sequence[str], table: str) -> list[str]:
    return [one.replace("{t}", table) for one in statements]


def _columns(ddl: str) -> list[str]:
    """Return the column names of a CREATE TABLE body, without its constraints."""
    depth, parts = 0, [""]
    for character in ddl:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    words = [part.split()[0] for part in parts]
    return [word for word in words if word not in {"PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}]
