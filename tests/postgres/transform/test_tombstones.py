"""A tombstone without its delete event removes the row; one after its event has no effect."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import pytest

from sink_runner.avro import KeyDecoder
from sink_runner.errors import DecodeError
from sink_runner.model.changes import Removal
from sink_runner.model.message import Message
from sink_runner.plugin import (
    Action,
    Column,
    Delete,
    Lookup,
    Review,
    SetColumns,
    TableMapping,
    source_wins,
)
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.transform.incoming import Shape
from sink_runner.transform.route import Route
from sink_runner.transform.row_plan import SourceColumn
from sink_runner.transform.steps import Chain
from sink_runner.transform.tombstones import TOMBSTONE, TombstoneFilter, TombstoneRemovals
from sink_runner.writer.encryption import Encryptor

KEY = {
    "type": "record",
    "name": "Key",
    "fields": [
        {"name": "id", "type": "long"},
        {
            "name": "day",
            "type": {"type": "string", "connect.name": "io.debezium.time.IsoDate"},
        },
    ],
}


class Registry:
    def schema(self, _schema_id: int) -> Any:
        return KEY


def record(key: bytes | None, value: bytes | None, offset: int = 0, partition: int = 0) -> Message:
    return Message("north.public.t", partition, offset, key, value)


def key(id_: int, day: str = "2024-01-02Z") -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(KEY), {"id": id_, "day": day})
    return b"\0\0\0\0\1" + body.getvalue()


# -- which tombstones have no delete event -----------------------------------------------------


def selected(filter_: TombstoneFilter, *messages: Message) -> list[int]:
    return [message.offset for message in filter_.select({0: messages})]


def test_tombstone_after_its_delete_is_left_out() -> None:
    records = [record(b"a", b"delete", 1), record(b"a", None, 2), record(b"b", b"create", 3)]
    assert selected(TombstoneFilter(), *records) == [1, 3]


def test_tombstone_of_another_key_is_kept() -> None:
    records = [record(b"a", b"create", 1), record(b"b", None, 2), record(b"a", b"update", 3)]
    assert selected(TombstoneFilter(), *records) == [1, 2, 3]


def test_delete_in_previous_poll_is_recognized() -> None:
    filter_ = TombstoneFilter()
    assert selected(filter_, record(b"a", b"delete", 1)) == [1]
    assert selected(filter_, record(b"a", None, 2)) == []


def test_partitions_are_filtered_separately() -> None:
    filter_ = TombstoneFilter()
    records = {0: [record(b"a", b"delete", 1)], 1: [record(b"a", None, 1, partition=1)]}
    assert [message.partition for message in filter_.select(records)] == [0, 1]


def test_seek_resets_known_deletes() -> None:
    filter_ = TombstoneFilter()
    filter_.select({0: [record(b"a", b"delete", 1)]})
    filter_.forget([0])
    assert selected(filter_, record(b"a", None, 2)) == [2]


def test_tombstone_without_a_key_is_left_out() -> None:
    assert selected(TombstoneFilter(), record(None, None, 1)) == []


# -- which rows tombstones remove --------------------------------------------------------------


def mapping(
    *names: str, columns: tuple[Column, ...] = (), on_delete: Action | None = None
) -> TableMapping:
    return TableMapping(
        source="north.public.t",
        target="north.public.t",
        key=names,
        columns=columns or (Column("number", "id"), Column("day"), Column("v")),
        conflict=source_wins(),
        on_delete=on_delete or Delete(),
    )


@pytest.fixture
def route(scratch: Any) -> Callable[[TableMapping], Route]:
    """A route over a source with the primary key (id, day)."""
    source = scratch.table("id bigint, day date, v text, PRIMARY KEY (id, day)")
    types = {"number": ("bigint", "int8"), "day": ("date", "text"), "v": ("text", "text")}

    def make(declared: TableMapping) -> Route:
        keys = KeyDecoder(Registry(), sorted(source.primary_key))
        shape = Shape([SourceColumn(n, None) for n in ()], [])  # type: ignore[arg-type] # empty
        return Route(
            declared,
            [TargetColumn(column, *types[column.name]) for column in declared.columns],
            Chain(),
            shape_of=lambda _: shape,
            resolve=lambda _column, _values: {},
            subject=lambda _: "",
            removal=TombstoneRemovals(declared, source, keys).removal,
        )

    return make


pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("action", [Delete(), SetColumns({"v": "gone"})])
def test_row_with_key_is_removed(route: Any, action: Action) -> None:
    message = record(key(7), None)
    batch = route(mapping("day", "number", on_delete=action)).apply([(message, TOMBSTONE)])
    assert batch.changes == [Removal(("2024-01-02Z", 7), action, None, message)]
    assert not batch.dead_letters


def test_tombstone_is_ignored_with_review(route: Any) -> None:
    batch = route(mapping("number", "day", on_delete=Review())).apply(
        [(record(key(7), None), TOMBSTONE)]
    )
    assert (batch.changes, batch.counts["tombstone"]) == ([], 1)


@pytest.mark.parametrize("column", [Column("v"), Column("v", "id", lookup=Lookup("SELECT", "x"))])
def test_tombstone_without_target_key_is_ignored(route: Any, column: Column) -> None:
    declared = mapping("v", columns=(Column("number", "id"), column))
    batch = route(declared).apply([(record(key(7), None), TOMBSTONE)])
    assert (batch.changes, batch.counts["tombstone"]) == ([], 1)


def test_unreadable_key_is_a_dead_letter(route: Any) -> None:
    batch = route(mapping("number", "day")).apply([(record(b"\0\0\0\0\1", None), TOMBSTONE)])
    assert [type(dead_letter.error) for dead_letter in batch.dead_letters] == [DecodeError]


def test_deferred_tombstone_decrypts_to_itself() -> None:
    """A tombstone is deferred while an earlier event of its row is."""
    encryptor = Encryptor(bytes(32), "test")
    message = record(key(7), None, offset=3)
    assert encryptor.decrypt(encryptor.encrypt(message), message.topic, 0, 3) == message
