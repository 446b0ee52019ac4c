"""The source's catalog decides whether a target key belongs to one source row for good."""

from typing import Any

import pytest

from sink_runner.errors import DecodeError
from sink_runner.model.message import ROWS, Message
from sink_runner.plugin import (
    Column,
    Constant,
    Derived,
    Lookup,
    Schedule,
    TableMapping,
    source_wins,
)
from sink_runner.postgres.declared_types import declared_type
from sink_runner.transform.key_identity import KeyIdentity, key_identity, ownership

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, code text UNIQUE, kind text, day timestamp"


def mapping(*key: str, columns: tuple[Column, ...] = (), **more: Any) -> TableMapping:
    named = columns or tuple(Column(name) for name in ("id", "code", "kind"))
    declared: dict[str, Any] = {"source": "north.public.t", "target": "north.public.t"}
    declared |= {"key": key, "columns": named, "conflict": source_wins()}
    return TableMapping(**declared | more)


def test_key_with_primary_key_identifies_row(scratch) -> None:
    source = scratch.table(DDL)
    assert key_identity(mapping("id"), source) is KeyIdentity.SOURCE_ROW
    assert key_identity(mapping("code", "id"), source) is KeyIdentity.SOURCE_ROW


def test_unique_key_may_be_passed_on(scratch) -> None:
    source = scratch.table(DDL)
    assert key_identity(mapping("code"), source) is KeyIdentity.PASSED_ON
    assert key_identity(mapping("code", "kind"), source) is KeyIdentity.PASSED_ON


def test_deferrable_key_may_be_passed_on(scratch) -> None:
    ddl = "id int PRIMARY KEY, code text UNIQUE DEFERRABLE INITIALLY DEFERRED, kind text"
    assert key_identity(mapping("code"), scratch.table(ddl)) is KeyIdentity.PASSED_ON


def test_key_without_constraint_is_shared(scratch) -> None:
    source = scratch.table(DDL)
    scratch.admin.execute(f"CREATE UNIQUE INDEX ON {source.sql_name} (kind) WHERE id > 7".encode())
    assert key_identity(mapping("kind"), source) is KeyIdentity.SHARED


@pytest.mark.parametrize(
    "column",
    [
        Column("code", Constant("x")),
        Column("code", lookup=Lookup("SELECT 1", "north")),
        Column("code", convert=str.lower),
        Column("code", max_length=3),
        Column("code", default="none"),
    ],
    ids=["constant", "lookup", "convert", "cut", "default"],
)
def test_converted_key_is_shared(scratch, column: Column) -> None:
    source = scratch.table(DDL)
    declared = mapping("code", columns=(Column("id"), column))
    assert key_identity(declared, source) is KeyIdentity.SHARED


def test_table_without_primary_key_identifies_no_row(scratch) -> None:
    source = scratch.table("id int, code text UNIQUE, kind text")
    assert key_identity(mapping("code"), source) is KeyIdentity.PASSED_ON
    assert key_identity(mapping("id"), source) is KeyIdentity.SHARED


def test_whole_row_hook_makes_a_natural_key_shared(scratch) -> None:
    source = scratch.table(DDL)
    assert key_identity(mapping("code"), source, has_maps=True) is KeyIdentity.SHARED
    assert key_identity(mapping("id"), source, has_maps=True) is KeyIdentity.SOURCE_ROW


def test_key_of_the_candidates_counts(scratch) -> None:
    source = scratch.table(DDL)
    candidates = Derived(key=("id",), group=("code",), select="SELECT 1")
    columns = (Column("id", type="integer"), Column("code", type="text"))
    declared = mapping("code", columns=columns, derived=candidates)
    assert key_identity(declared, source) is KeyIdentity.SOURCE_ROW


def test_mapping_without_streaming_needs_no_owner(scratch) -> None:
    declared = mapping("code", streaming=False, schedules=(Schedule("0 0 * * *"),))
    assert key_identity(declared, scratch.table(DDL)) is KeyIdentity.SOURCE_ROW


# -- the owner: the source row's key as text ---------------------------------------------------


def message(key: bytes | None, partition: int = 0) -> Message:
    return Message("t", partition, 0, key, b"")


def test_owner_is_equal_in_stream_and_batch(scratch) -> None:
    source = scratch.table(
        "day timestamp, id int, ok bool, code text UNIQUE, PRIMARY KEY (day, id, ok)"
    )
    declared = mapping("code", columns=(Column("code"),))
    stream = ownership(
        declared, source, lambda _: {"day": "2024-01-02T03:04:05.6Z", "id": 7, "ok": True}
    )
    batch = ownership(
        declared, source, lambda _: {"id": "7", "ok": "t", "day": "2024-01-02 03:04:05.6"}
    )
    assert stream.owner_of is not None
    assert batch.owner_of is not None
    assert stream.owner_of(message(b"k")) == batch.owner_of(message(b"k", ROWS))


def test_key_text_is_not_normalized(scratch) -> None:
    source = scratch.table("id text PRIMARY KEY, code text UNIQUE")
    declared = mapping("code", columns=(Column("code"),))
    owners = [
        ownership(declared, source, lambda _, id_=id_: {"id": id_}).owner_of(message(b"k"))
        for id_ in ("aTb", "a b", "aZ", "a")
    ]
    assert len(set(owners)) == 4


def test_record_without_readable_key_has_no_owner(scratch) -> None:
    def unreadable(_: Message) -> dict[str, Any]:
        raise DecodeError("no key")

    found = ownership(mapping("code"), scratch.table(DDL), unreadable)
    assert found.owner_of is not None
    assert found.owner_of(message(None)) is None
    assert found.owner_of(message(b"k")) is None


def test_key_of_source_row_needs_no_owner(scratch) -> None:
    found = ownership(mapping("id"), scratch.table(DDL), lambda _: {})
    assert found == (KeyIdentity.SOURCE_ROW, None)


@pytest.mark.parametrize(
    ("type_", "identity"),
    [
        ("citext", KeyIdentity.SHARED),
        ("int", KeyIdentity.SHARED),
        ("varchar(5)", KeyIdentity.SOURCE_ROW),
        ("char(5)", KeyIdentity.SOURCE_ROW),
    ],
)
def test_key_of_coarser_type_is_shared(scratch, type_: str, identity: Any) -> None:
    source = scratch.table("code text PRIMARY KEY, id int, kind text")
    target = {"code": declared_type(type_)}
    assert key_identity(mapping("code"), source, target=target) is identity
