"""Recorded messages with every type and value are stored as PostgreSQL printed the value."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.avro import EnvelopeDecoder
from sink_runner.errors import EventError
from sink_runner.model.envelope import Kind
from sink_runner.plugin import Column, Table
from sink_runner.postgres.catalog import CatalogColumn, read_table
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.transform.pg_encoding import to_text
from sink_runner.transform.row_plan import RowPlan, SourceColumn

from ...support import typed_tables as typed

RECORDED = Path(__file__).parents[2] / "fixtures" / "debezium" / "types"
BEYOND_PYTHON = {"date", "timestamp", "timestamp_0", "timestamptz", "time", "time_0", "timetz"}
"""Types with values that Python's types cannot represent; a hook that reads one fails."""


class Recording:
    """The recorded messages of a group of types, and their values as PostgreSQL prints them."""

    def __init__(self, group: str) -> None:
        content = json.loads((RECORDED / f"{group}.json").read_text(encoding="utf-8"))
        self.texts: dict[int, dict[str, str]] = {int(n): row for n, row in content["texts"].items()}
        self._schemas = {int(number): schema for number, schema in content["schemas"].items()}
        raw = [base64.b64decode(m["value"]) for m in content["messages"] if m["value"]]
        self.raw = raw[: len(self.texts)]

    def schema(self, schema_id: int) -> Any:
        return self._schemas[schema_id]

    def decoded(self, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        decoder = EnvelopeDecoder(self, after=names)
        for value in self.raw:
            event = decoder.decode(value)
            assert event is not None
            assert event.after is not None
            yield event.after

    def sources(self, columns: dict[str, CatalogColumn]) -> dict[str, SourceColumn]:
        decoder = EnvelopeDecoder(self)
        kinds = decoder.plan(int.from_bytes(self.raw[0][1:5])).row.columns
        return {
            name: SourceColumn(name, kinds[name].kind, c.type, c.pg, kinds[name].item)
            for name, c in columns.items()
        }


@pytest.fixture(scope="module")
def admin(postgres: Any) -> Iterator[Any]:
    """A session in a database with the types and tables of the recordings."""
    name = postgres.fresh_database("smart_citizen")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        if connection.info.server_version < 170000:
            connection.execute(b"SET check_function_bodies = off")
        typed.create_tables(connection)
        connection.execute(b"SET TimeZone = 'UTC'; SET search_path = typed, public")
        yield connection


def typed_columns(admin: Any, group: str) -> dict[str, CatalogColumn]:
    columns = read_table(admin, Table("north", "typed", group)).columns
    return {name: column for name, column in columns.items() if name != "id"}


def cast_all(admin: Any, column: CatalogColumn, staged: list[Any]) -> list[str]:
    """Return the text of staged values after the writer's cast to the column's type."""
    query = f"SELECT ({column.pg.read('v')})::{column.pg.cast}::text FROM unnest(%s::text[]) v"
    values = [to_text(value) for value in staged]
    return [row[0] for row in admin.execute(query.encode(), (values,)).fetchall()]


def is_known(admin: Any, name: str, text: str) -> bool:
    """Whether this server supports the value: an infinite interval needs PostgreSQL 17."""
    newer = name.startswith("interval__") and "infinity" in text
    return not newer or bool(admin.info.server_version >= 170000)


@pytest.mark.parametrize("group", typed.GROUPS)
def test_recorded_values_are_stored_as_printed(admin: Any, group: str) -> None:
    recording = Recording(group)
    columns = typed_columns(admin, group)
    rows = list(recording.decoded(tuple(columns)))
    differences = []
    for index, (name, source) in enumerate(recording.sources(columns).items()):
        target = columns[name]
        target_column = TargetColumn(Column(name), target.type, target.stage_type, None, target.pg)
        plan = RowPlan([target_column], [source])
        pairs = [
            (row[index], recording.texts[number].get(name, ""))
            for number, row in enumerate(rows)
            if row[index] is not None
            and is_known(admin, name, recording.texts[number].get(name, ""))
        ]
        found = cast_all(admin, target, [plan.flat((value,))[0] for value, _ in pairs])
        expected = [text for _, text in pairs]
        differences += [
            f"{name}: {one!r} is not {other!r}"
            for one, other in zip(found, expected, strict=True)
            if one != other
        ]
    assert differences == []


@pytest.mark.parametrize("group", typed.GROUPS)
def test_hooks_keep_or_refuse_recorded_values(admin: Any, group: str) -> None:
    """A value that Python can represent is stored unchanged; any other is an error."""
    recording = Recording(group)
    columns = typed_columns(admin, group)
    rows = list(recording.decoded(tuple(columns)))
    differences = []
    for index, (name, source) in enumerate(recording.sources(columns).items()):
        target = columns[name]
        target_column = TargetColumn(Column(name), target.type, target.stage_type, None, target.pg)
        plan = RowPlan([target_column], [source])
        for number, row in enumerate(rows):
            text = recording.texts[number].get(name)
            if row[index] is None or text is None or not is_known(admin, name, text):
                continue
            try:
                staged = plan.finish(plan.typed((row[index],)))[0]
            except EventError:
                if name.partition("__")[0] not in BEYOND_PYTHON:
                    differences.append(f"{name}: {text!r} is refused")
                continue
            (found,) = cast_all(admin, target, [staged])
            if found != text:
                differences.append(f"{name}: {found!r} is not {text!r}")
    assert differences == []


def test_every_recorded_column_has_known_kind(admin: Any) -> None:
    for group in typed.GROUPS:
        sources = Recording(group).sources(typed_columns(admin, group))
        assert [name for name, column in sources.items() if column.kind is Kind.OPAQUE] == []
