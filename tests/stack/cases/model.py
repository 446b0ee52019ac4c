"""A case: a source and a target table, a mapping, changes in steps, and the expected rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SCHEMA = "cases"
SOURCE, TARGET = "smart_warehouse", "smart_citizen"
_INVALID_IN_TOPICS = re.compile(r"[^A-Za-z0-9._-]")
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
    """Tables and mappings, changes, and the expected result.

    Without `refusal` and `rows`, the query `show` must return the same rows in both databases.
    """

    name: str
    schema: str = SCHEMA
    source: Sequence[str]
    target: Sequence[str]
    tables: Sequence[str]
    """The tables to capture: quoted as in SQL, without their schema."""
    mappings: Mapping[str, str]
    """The code of each plugin, by the mapping's name."""
    steps: Sequence[Sequence[str]]
    """Statements for the source; a step begins when the previous one is applied."""
    show: str
    """The query that reads the rows to compare, in either database."""
    between: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Statements for the target, before the step of that number."""
    partitions: int = 1
    rows: Sequence[tuple[object, ...]] | None = None
    """The expected rows of the target, if they differ from those of the source."""
    refusal: Sequence[str] = ()
    """Words in the reason for which the mapping is quarantined or stops."""
    dead_letters: Sequence[str] = ()
    """For each expected dead letter, a word in its message."""

    def topics(self) -> dict[str, int]:
        """Return the topics, as Debezium names them, with their partition counts."""
        return {
            _INVALID_IN_TOPICS.sub(
                "_", f"{SOURCE}.{self.schema}.{table.strip(chr(34))}"
            ): self.partitions
            for table in self.tables
        }


def plugin_code(
    table: str,
    columns: Sequence[str],
    *,
    key: Sequence[str] = ("id",),
    conflict: str = "source_wins()",
    more: str = "",
    schema: str = SCHEMA,
) -> str:
    """Return the code of a plugin that maps a table to the target table of the same name."""
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
    **fields: object,
) -> Case:
    """Return a case with one table, named after the case; `ddl` lists its columns.

    `before` creates types in both databases; `after` alters the source table and `target_after`
    the target table. `{t}` in a statement stands for the table's name.
    """
    table = name.replace("-", "_")
    columns = _columns(ddl)
    qualified = f"{SCHEMA}.{table}"
    selected = ", ".join(f"{column}::text" for column in columns)
    return Case(
        name=name,
        source=[*before, f"CREATE TABLE {qualified} ({ddl})", *_with_table(after, qualified)],
        target=[
            *before,
            f"CREATE TABLE {qualified} ({target_ddl or ddl})",
            *_with_table(target_after, qualified),
        ],
        tables=[table],
        mappings={name: plugin_code(table, columns, key=key, conflict=conflict, more=more)},
        steps=[_with_table(step, qualified) for step in steps],
        show=show or f"SELECT {selected} FROM {qualified} ORDER BY {', '.join(key)}",
        **fields,  # type: ignore[arg-type] - names and values of fields of Case
    )


def _with_table(statements: Sequence[str], table: str) -> list[str]:
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
