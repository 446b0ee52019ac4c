"""A batch row has the same values as the event of that row."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sink_runner.avro import EnvelopeDecoder
from sink_runner.batch.rows import RowFormat, is_batch_row
from sink_runner.batch.snapshot import open_source
from sink_runner.batch.source import Source
from sink_runner.errors import DecodeError
from sink_runner.model.envelope import Decoded
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.postgres.declared_types import declared_type
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.transform.row_plan import RowPlan, SourceColumn

RECORDED = Path(__file__).parents[2] / "fixtures/debezium/kinds.json"
# The table and the rows of the recording.
DDL = """
id INT PRIMARY KEY, at TIMESTAMP, zoned TIMESTAMPTZ, day DATE, clock TIME, amount NUMERIC(12,2),
free NUMERIC, ratio DOUBLE PRECISION, flag BOOLEAN, document JSONB, code UUID, raw BYTEA,
span INTERVAL, tags TEXT[]
"""
ROWS = (
    """(1, '2024-02-29 12:34:56.123456', '2024-02-29 12:34:56.123456+05:30', '2024-02-29',
    '12:34:56.123456', 12.50, 1e-10, 0.1, true, '{"a": 1}',
    'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', '\\x00ff', '1 year 2 days 03:04:05', '{a,NULL,b}')""",
    "(2, NULL, NULL, NULL, NULL, 'NaN', 'NaN', 'NaN')",
    "(3, 'infinity', 'infinity', 'infinity', NULL, NULL, 'Infinity', 'Infinity')",
    "(4, '-infinity', '-infinity', '-infinity', NULL, NULL, '-Infinity', '-Infinity')",
    "(5, '0044-03-15 00:00:00 BC', '0044-03-15 00:00:00+00 BC', '0044-03-15 BC')",
    "(6, '2024-02-29 00:00:00', '2024-02-29 00:00:00+00', '0001-01-01', '00:00:00')",
)
# Types with values that the text format of COPY, or Python, could change.
SPECIAL_VALUES = {
    "smallint": ["-32768", "0"],
    "bigint": ["9223372036854775807"],
    "real": ["1.1", "NaN", "-Infinity"],
    "double precision": ["0.1", "1e300", "-0"],
    "numeric": ["123456789012345678901234567890.123456789", "NaN", "-0.00"],
    "money": ["1234.50"],
    "text": ["", "a\\tb\\nc\\rd\\\\Ne\\b\\f\\v", "\\\\N", "नाम", "{}", "'\"%s"],
    "character varying": ["x "],
    "character(4)": ["ab"],
    "date": [
        "2024-02-29",
        "10000-01-01",
        "0044-03-15 BC",
        "0001-01-01 BC",
        "infinity",
        "-infinity",
    ],
    "timestamp": ["2024-02-29 01:02:03.1", "20000-01-01 00:00:01.5", "0001-01-01 00:00:00 BC"],
    "timestamptz": ["2024-02-29 01:02:03.000001+05:30", "20000-01-01 00:00:01+00", "-infinity"],
    "time": ["24:00:00", "00:00:00.1"],
    "timetz": ["07:00:00+00"],
    "interval": ["1 mon -2 days 03:04:05.6", "-00:00:01"],
    "jsonb": ['{"a": "b\\\\n\\\\\\\\c", "n": [1.50, null]}', "null"],
    "json": ['{"a":   1}'],
    "bytea": ["\\\\x" + "00ff5c" * 40, "\\\\x"],
    "uuid": ["aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"],
    "inet": ["10.0.0.1/8"],
    "xml": ["<a>b</a>"],
    "integer[]": ["{1,NULL,3}", "{}", "{{1,2},{3,4}}"],
    "boolean[]": ["{t,f,NULL}"],
    "double precision[]": ["{0.1,NaN,Infinity}"],
    "numeric[]": ["{1.50,NaN}"],
    "text[]": ['{"a,b","c\\\\\\\\d","e\\\\"f",NULL,"NULL",""}'],
    "timestamp[]": ['{"2024-02-29 01:02:03.5",infinity}'],
    "uuid[]": ["{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}"],
    "jsonb[]": ['{"{\\\\"a\\\\": 1}"}'],
}


class Table:
    """A table, and the rows that a batch reads from it."""

    def __init__(self, postgres: Any, scratch: Any, columns: str, rows: tuple[str, ...]) -> None:
        self.catalog = scratch.table(columns)
        self.name = self.catalog.sql_name
        self.admin = scratch.admin
        for row in rows:
            self.admin.execute(f"INSERT INTO {self.name} VALUES {row}".encode())
        names = tuple(self.catalog.columns)
        self.mapping = TableMapping(
            source=str(self.catalog.table),
            target="south.public.t",
            key=("id",),
            conflict=source_wins(),
            columns=tuple(Column(name) for name in names),
        )
        self.reader = open_source(scratch.dsn, "test")
        self.source = Source.of(self.mapping, self.catalog, self.reader)

    def decoded(self) -> list[Decoded]:
        form = self.source.format
        head = form.head(77, datetime(2024, 1, 1))  # noqa: DTZ001 - as columns hold it
        lines = self.source.lines(self.reader, "true")
        messages = [form.message(head, line, n) for n, line in enumerate(lines)]
        return [form.decode(message.value) for message in messages]

    def plan(self, columns: list[SourceColumn]) -> RowPlan:
        targets = []
        for column in self.mapping.columns:
            type_ = self.catalog.columns[column.name].type
            stage = CatalogColumn(column.name, type_, nullable=True).stage_type
            targets.append(TargetColumn(column, type_, stage))
        return RowPlan(targets, columns)


@pytest.fixture
def table(postgres, scratch) -> Iterator[Any]:
    made: list[Table] = []

    def make(columns: str, *rows: str) -> Table:
        made.append(Table(postgres, scratch, columns, rows))
        return made[-1]

    yield make
    for one in made:
        one.reader.close()


def recorded(table: Table) -> tuple[list[Decoded], list[SourceColumn]]:
    """The same rows as Debezium's messages have them."""
    kept = json.loads(RECORDED.read_text())
    names = tuple(table.catalog.columns)
    values = [base64.b64decode(message["value"]) for message in kept["messages"]]
    schemas = {int(number): schema for number, schema in kept["schemas"].items()}
    decoder = EnvelopeDecoder(Schemas(schemas), after=names)
    events = [decoder.decode(value) for value in values]
    kinds = decoder.plan(int.from_bytes(values[0][1:5])).row.columns
    types = table.catalog.columns
    return events, [SourceColumn(name, kinds[name].kind, types[name].type) for name in names]


class Schemas:
    def __init__(self, schemas: dict[int, Any]) -> None:
        self._schemas = schemas

    def schema(self, schema_id: int) -> Any:
        return self._schemas[schema_id]


def python(columns: list[SourceColumn], row: tuple[Any, ...]) -> list[Any]:
    """Return the values that hooks receive; DecodeError where a value has no Python form."""
    return [_converted(column, value) for column, value in zip(columns, row, strict=True)]


def _converted(column: SourceColumn, value: Any) -> Any:
    convert = column.to_python
    if value is None or convert is None:
        return json.loads(value) if column.kind == "json" and value else value
    try:
        return convert(value)
    except DecodeError:
        return DecodeError


@pytest.mark.postgres
def test_hooks_receive_same_values_as_from_events(table) -> None:
    made = table(DDL, *ROWS)
    events, kinds = recorded(made)
    rows = made.decoded()
    assert len(rows) == len(events) == len(ROWS)
    for row, event in zip(rows, events, strict=True):
        ours = python(made.source.format.columns, row.after)
        expected = python(kinds, event.after)
        for name, value, other in zip(made.catalog.columns, ours, expected, strict=True):
            if other is DecodeError or name == "span":  # compared in the database by the next test
                continue
            assert type(value) is type(other), name
            assert value == other or value != value, name  # noqa: PLR0124 - NaN


@pytest.mark.postgres
def test_target_receives_same_values_as_from_events(table) -> None:
    made = table(DDL, *ROWS)
    events, kinds = recorded(made)
    by_rows, by_events = made.plan(made.source.format.columns), made.plan(kinds)
    day = list(made.catalog.columns).index("day")
    for row, event in zip(made.decoded(), events, strict=True):
        # Debezium's infinite dates are ambiguous; a batch's are not.
        after = list(event.after)
        if after[0] in {3, 4}:
            after[day] = None
        staged = zip(by_rows.flat(row.after), by_events.flat(after), strict=True)
        for column, (ours, theirs) in zip(made.catalog.columns.values(), staged, strict=True):
            if column.name == "day" and theirs is None:
                continue
            query = f"SELECT %s::text::{column.type} IS NOT DISTINCT FROM %s::text::{column.type}"
            (same,) = made.admin.execute(query.encode(), (_text(ours), _text(theirs))).fetchone()
            assert same, column.name


@pytest.mark.postgres
def test_time_with_zone_is_same_moment_in_utc(table) -> None:
    """Debezium also converts it to UTC."""
    made = table("id int PRIMARY KEY, v timetz", "(1, '12:30:00+05:30')")
    (row,) = made.decoded()
    assert python(made.source.format.columns, row.after)[1] == time(7, tzinfo=UTC)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@pytest.mark.postgres
@pytest.mark.parametrize("type_", SPECIAL_VALUES)
def test_every_value_is_copied_unchanged(table, type_: str) -> None:
    made = table(f"id int PRIMARY KEY, v {type_}")
    for number, value in enumerate([None, *SPECIAL_VALUES[type_]]):
        text = "NULL" if value is None else f"E'{value.replace(chr(39), chr(39) * 2)}'"
        made.admin.execute(f"INSERT INTO {made.name} VALUES ({number}, {text})".encode())
    plan = made.plan(made.source.format.columns)
    declared = made.catalog.columns["v"].type
    unbound = "bpchar" if declared == "character" else declared
    for row in made.decoded():
        number, staged = plan.flat(row.after)
        (stored, same) = made.admin.execute(
            f"SELECT v::text, v::text IS NOT DISTINCT FROM %s::text::{unbound}::text "
            f"FROM {made.name} WHERE id = %s".encode(),
            (_text(staged), number),
        ).fetchone()
        assert same, (stored, staged)


@pytest.mark.postgres
def test_hooks_receive_python_types(table) -> None:
    made = table(
        "id int PRIMARY KEY, a numeric, b date, c timestamp, d timestamptz, e time, f bytea, "
        "g int[], h bool, i real",
        "(1, 1.50, '2024-02-29', '2024-02-29 01:02:03.5', '2024-02-29 01:02:03+05:30', '01:02', "
        "'\\x00ff', '{1,2}', true, 0.5)",
    )
    (row,) = made.decoded()
    assert python(made.source.format.columns, row.after) == [
        1,
        Decimal("1.50"),
        date(2024, 2, 29),
        datetime.fromisoformat("2024-02-29T01:02:03.5"),
        datetime(2024, 2, 28, 19, 32, 3, tzinfo=UTC),
        time(1, 2),
        b"\x00\xff",
        [1, 2],
        True,
        0.5,
    ]


@pytest.mark.postgres
def test_row_has_position_and_time(table) -> None:
    made = table("id int PRIMARY KEY", "(1)")
    (row,) = made.decoded()
    assert (row.op, row.lsn, row.before, row.origin) == ("r", 77, None, None)
    assert datetime.fromtimestamp(row.ts_ms / 1000, UTC) == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.postgres
def test_rows_can_be_read_by_key(table) -> None:
    made = table("id text PRIMARY KEY, v int", "(E'a\\tb\\\\c', 1)", "('d', 2)")
    form = made.source.format
    lines = list(made.source.lines(made.reader, "true"))
    keys = [form.key_of(form.message(b"", line, 0)) for line in lines]
    assert keys == [["a\tb\\c"], ["d"]]
    assert sorted(made.source.read_keys(made.reader, keys)) == sorted(lines)
    assert list(made.source.lines(made.reader, "true", after=keys[0])) == lines[1:]
    assert made.source.has(made.reader, ("id",), [("x",), *map(tuple, keys)]) == {1, 2}


FORM = RowFormat("north.public.t", {"a": declared_type("text")}, ("a",))


def test_row_of_other_columns_is_refused() -> None:
    other = RowFormat("north.public.t", {"a": declared_type("integer")})
    with pytest.raises(DecodeError, match="other columns"):
        FORM.decode(other.head(1, datetime(2024, 1, 1)) + b"1")  # noqa: DTZ001


def test_row_that_is_not_utf8_is_refused() -> None:
    """A value of type "char", or any text in a database with SQL_ASCII, may be invalid UTF-8."""
    with pytest.raises(DecodeError, match="not UTF-8"):
        FORM.decode(FORM.head(1, datetime(2024, 1, 1)) + b"\xff")  # noqa: DTZ001


@pytest.mark.parametrize("value", [None, b"", b"\x01", b"\0" * 40])
def test_invalid_row_is_refused(value: bytes | None) -> None:
    with pytest.raises(DecodeError, match="does not contain a row"):
        FORM.decode(value)


def test_batch_row_is_distinguished_from_record() -> None:
    assert is_batch_row(FORM.head(1, datetime(2024, 1, 1)))  # noqa: DTZ001
    assert not is_batch_row(b"\0\0\0\0\1")
    assert not is_batch_row(None)
