"""A row is written identically by the stream and by a batch, for every type of the target.

The stream is a recording of Debezium's events; the batch reads the same rows from a table.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import pytest

from sink_runner.batch.rows import RowFormat
from sink_runner.batch.snapshot import open_source
from sink_runner.errors import EventError
from sink_runner.plugin import Column
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.transform.row_plan import RowPlan, SourceColumn

from ...support import typed_tables as typed
from ..transform.test_recordings import Recording, is_known, typed_columns

pytestmark = pytest.mark.postgres


class Rows(NamedTuple):
    """The rows of a group, as the stream or the batch reads them."""

    sources: dict[str, SourceColumn]
    values: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def database(postgres) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Sessions of the administrator and of a batch reader, in a database with all types."""
    name = postgres.fresh_database("smart_warehouse")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        typed.create_tables(admin)
        admin.execute(b"SET TimeZone = 'UTC'; SET search_path = typed, public")
        reader = open_source(postgres.dsn(name), "test")
        yield admin, reader
        reader.close()


@pytest.fixture(scope="module", params=typed.GROUPS)
def both(request, database) -> tuple[Rows, Rows]:
    """The rows of a group, read by the stream and by a batch."""
    admin, reader = database
    group, recording = request.param, Recording(request.param)
    columns = typed_columns(admin, group)
    for number, texts in recording.texts.items():
        known = {n: t for n, t in texts.items() if t is not None and is_known(admin, n, t)}
        admin.execute(typed.insert_statement(group, number, known).encode())
    row_format = RowFormat(f"north.typed.{group}", {name: c.pg for name, c in columns.items()})
    head = row_format.head(1, datetime(2024, 1, 1))  # noqa: DTZ001 - columns have naive times
    query = f"COPY (SELECT {row_format.select} FROM typed.{group} r ORDER BY id) TO STDOUT"
    with reader.cursor() as cursor, cursor.copy(query.encode()) as lines:
        batch = [row_format.decode(head + bytes(line)[:-1]).after for line in lines]
    sources = recording.sources(columns)
    stream = list(recording.decoded(tuple(columns)))
    by_name = {source.name: source for source in row_format.columns}
    return Rows(sources, stream), Rows(by_name, batch)


def stage(source: SourceColumn, target: CatalogColumn, value: Any) -> Any:
    """Return the value staged for a column of the target, or the class of the error."""
    column = TargetColumn(Column(source.name), target.type, target.stage_type, None, target.pg)
    try:
        return RowPlan([column], [source]).flat((value,))[0]
    except EventError as error:
        return type(error)


def read_for_hook(source: SourceColumn, value: Any) -> Any:
    """Return the value that a hook gets, or the class of the error."""
    target = TargetColumn(Column(source.name), "text", "text")
    try:
        return RowPlan([target], [source]).typed((value,))[0]
    except EventError as error:
        return type(error)


TYPES_WITH_EQUAL_TEXT = {
    "date",
    "time",
    "time_0",
    "timestamp",
    "timestamp_0",
    "timestamptz",
    "timestamptz_3",
}


def printed_text(admin: psycopg.Connection, name: str, number: int) -> str | None:
    query = f'SELECT "{name}"::text FROM typed.times WHERE id = %s'
    (text,) = admin.execute(query.encode(), (number,)).fetchone()
    return text


def stage_after_hook(source: SourceColumn, value: Any) -> set[Any]:
    """Return the values staged for a text column after a hook; none if the value is refused."""
    plan = RowPlan([TargetColumn(Column(source.name), "text", "text")], [source])
    try:
        return set(plan.finish(plan.typed((value,))))
    except EventError:
        return set()


def differences(both: tuple[Rows, Rows], read: Any) -> str:
    stream, batch = both
    found = []
    for at, (name, source) in enumerate(stream.sources.items()):
        for one, other in zip(stream.values, batch.values, strict=True):
            if one[at] is None or other[at] is None:
                continue
            streamed, batched = read(source, one[at]), read(batch.sources[name], other[at])
            if source.pg.is_builtin("bpchar"):
                streamed, batched = strip_padding(streamed), strip_padding(batched)
            if repr(streamed) != repr(batched):
                found.append(f"{name}: {streamed!r} by the stream, {batched!r} by a batch")
    return "\n".join(found)


def strip_padding(text: Any) -> Any:
    """Remove trailing blanks, which the text of a bpchar in the batch's table does not have."""
    return text.rstrip(" ") if isinstance(text, str) else text


def test_text_column_is_equal_by_both(both) -> None:
    text = CatalogColumn("v", "text", nullable=True)
    assert differences(both, lambda source, value: stage(source, text, value)) == ""


def test_text_column_equals_output_of_postgresql(both, database) -> None:
    """The text is equal directly and after a hook that changes nothing."""
    admin, _ = database
    text = CatalogColumn("v", "text", nullable=True)
    unequal = []
    for rows in both:
        for at, (name, source) in enumerate(rows.sources.items()):
            if (
                source.pg.element is not None
                or name.partition("__")[0] not in TYPES_WITH_EQUAL_TEXT
            ):
                continue
            for number, row in enumerate(rows.values):
                printed = printed_text(admin, name, number)
                found = {stage(source, text, row[at]), *stage_after_hook(source, row[at])}
                if row[at] is not None and found != {printed}:
                    unequal.append(f"{name}: {found} is not {printed!r}")
    assert unequal == []


def test_hook_gets_equal_values_by_both(both) -> None:
    assert differences(both, read_for_hook) == ""


def test_batch_has_every_recorded_value(both) -> None:
    stream, batch = both
    for at, name in enumerate(stream.sources):
        missing = [
            one[at]
            for one, other in zip(stream.values, batch.values, strict=True)
            if other[at] is None and one[at] is not None and not name.startswith("interval__")
        ]
        assert missing == [], name
