"""A row is written identically by the stream and by a batch, for every type of the target.

The stream is what Debezium was recorded to write; the batch reads the same rows from a table.
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
    """The rows of a group as one way has them."""

    sources: dict[str, SourceColumn]
    values: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def database(postgres) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """An administrator's session and a batch reader's, in a database that has the types."""
    name = postgres.fresh_database("smart_warehouse")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        typed.create(admin)
        admin.execute(b"SET TimeZone = 'UTC'; SET search_path = typed, public")
        reader = open_source(postgres.dsn(name), "test")
        yield admin, reader
        reader.close()


@pytest.fixture(scope="module", params=typed.GROUPS)
def both(request, database) -> tuple[Rows, Rows]:
    """The rows of a group by the stream and by a batch."""
    admin, reader = database
    group, recording = request.param, Recording(request.param)
    columns = typed_columns(admin, group)
    for number, texts in recording.texts.items():
        known = {n: t for n, t in texts.items() if t is not None and is_known(admin, n, t)}
        admin.execute(typed.insert(group, number, known).encode())
    form = RowFormat(f"north.typed.{group}", {name: c.pg for name, c in columns.items()})
    head = form.head(1, datetime(2024, 1, 1))  # noqa: DTZ001 - as columns hold it
    query = f"COPY (SELECT {form.select} FROM typed.{group} r ORDER BY id) TO STDOUT"
    with reader.cursor() as cursor, cursor.copy(query.encode()) as lines:
        batch = [form.decode(head + bytes(line)[:-1]).after for line in lines]
    sources = recording.sources(columns)
    stream = list(recording.decoded(tuple(columns)))
    by_name = {source.name: source for source in form.columns}
    return Rows(sources, stream), Rows(by_name, batch)


def staged(source: SourceColumn, target: CatalogColumn, value: Any) -> Any:
    """What is staged of a value for a column of the target; the fault if it is refused."""
    made = TargetColumn(Column(source.name), target.type, target.stage_type, None, target.pg)
    try:
        return RowPlan([made], [source]).flat((value,))[0]
    except EventError as fault:
        return type(fault)


def hooked(source: SourceColumn, value: Any) -> Any:
    """What a hook is given of a value; the fault if it cannot be held."""
    target = TargetColumn(Column(source.name), "text", "text")
    try:
        return RowPlan([target], [source]).typed((value,))[0]
    except EventError as fault:
        return type(fault)


PRINTED = {"date", "time", "time_0", "timestamp", "timestamp_0", "timestamptz", "timestamptz_3"}


def printed_text(admin: psycopg.Connection, name: str, number: int) -> str | None:
    query = f'SELECT "{name}"::text FROM typed.times WHERE id = %s'
    (text,) = admin.execute(query.encode(), (number,)).fetchone()
    return text


def through_hook(source: SourceColumn, value: Any) -> set[Any]:
    """What is staged for a text column of what a hook is given; nothing where it is refused."""
    plan = RowPlan([TargetColumn(Column(source.name), "text", "text")], [source])
    try:
        return set(plan.finish(plan.typed((value,))))
    except EventError:
        return set()


def differences(both: tuple[Rows, Rows], of: Any) -> str:
    stream, batch = both
    found = []
    for at, (name, source) in enumerate(stream.sources.items()):
        for one, other in zip(stream.values, batch.values, strict=True):
            if one[at] is None or other[at] is None:
                continue
            mine, its = of(source, one[at]), of(batch.sources[name], other[at])
            if source.pg.is_builtin("bpchar"):
                mine, its = without_padding(mine), without_padding(its)
            if repr(mine) != repr(its):
                found.append(f"{name}: {mine!r} by the stream, {its!r} by a batch")
    return "\n".join(found)


def without_padding(text: Any) -> Any:
    """A bpchar's text has no blanks at its end, so the table that the batch reads lacks them."""
    return text.rstrip(" ") if isinstance(text, str) else text


def test_a_text_column_gets_the_same_by_both(both) -> None:
    text = CatalogColumn("v", "text", nullable=True)
    assert differences(both, lambda source, value: staged(source, text, value)) == ""


def test_a_text_column_gets_what_postgresql_prints(both, database) -> None:
    """Directly, and with a hook in between that changes nothing."""
    admin, _ = database
    text = CatalogColumn("v", "text", nullable=True)
    wrong = []
    for rows in both:
        for at, (name, source) in enumerate(rows.sources.items()):
            if source.pg.element is not None or name.partition("__")[0] not in PRINTED:
                continue
            for number, row in enumerate(rows.values):
                printed = printed_text(admin, name, number)
                found = {staged(source, text, row[at]), *through_hook(source, row[at])}
                if row[at] is not None and found != {printed}:
                    wrong.append(f"{name}: {found} is not {printed!r}")
    assert wrong == []


def test_a_hook_gets_the_same_by_both(both) -> None:
    assert differences(both, hooked) == ""


def test_the_batch_holds_every_recorded_value(both) -> None:
    stream, batch = both
    for at, name in enumerate(stream.sources):
        missing = [
            one[at]
            for one, other in zip(stream.values, batch.values, strict=True)
            if other[at] is None and one[at] is not None and not name.startswith("interval__")
        ]
        assert missing == [], name
