"""Lookups into the mapping's own target, which run inside the write transaction."""

from typing import Any

import pytest

from sink_runner.model.changes import Removal, Write
from sink_runner.model.message import Message
from sink_runner.plugin import Column, Delete, Lookup, TableMapping, insert_once
from sink_runner.transform.target_lookups import reads_target, waves


def mapping(target: str = "south.decision.events", **declared: Any) -> TableMapping:
    defaults: dict[str, Any] = {
        "source": "north.public.t",
        "target": target,
        "key": ("id",),
        "conflict": insert_once(),
        "columns": (Column("id"),),
    }
    return TableMapping(**defaults | declared)


@pytest.mark.parametrize(
    ("query", "database", "expected"),
    [
        ("SELECT a, b FROM decision.events WHERE a = ANY (%s)", "south", True),
        ("SELECT a, b FROM events", "south", True),
        ('SELECT a, b FROM decision."events" e', "south", True),
        ("SELECT a, b FROM decision.events", "north", False),
        ("SELECT a, b FROM decision.more_events", "south", False),
        ("SELECT a, b FROM decision.events_archive", "south", False),
    ],
)
def test_query_that_names_target_reads_it(query: str, database: str, *, expected: bool) -> None:
    assert reads_target(mapping(), Lookup(query, database)) is expected


def change(key: tuple[Any, ...], message: Message) -> Write:
    return Write(key, key, 0, partial=False, position=1, source=message)


class TestWaves:
    def messages(self, *keys: bytes | None) -> list[Message]:
        return [Message("t", 0, at, key, b"") for at, key in enumerate(keys)]

    def test_events_of_one_row_are_in_separate_waves(self) -> None:
        first, second, third = self.messages(b"a", b"b", b"a")
        changes = [change((at,), m) for at, m in enumerate((first, second, third))]
        assert waves(changes, [0]) == [changes[:2], changes[2:]]

    def test_events_of_one_target_key_are_separate(self) -> None:
        """Columns that are looked up do not count as part of the key."""
        first, second, third = self.messages(b"a", b"b", b"c")
        keys = [("x", 1), ("y", 1), ("x", 2)]
        changes = [change(key, m) for key, m in zip(keys, (first, second, third), strict=True)]
        assert waves(changes, [0]) == [changes[:2], changes[2:]]

    def test_changes_of_one_event_are_in_one_wave(self) -> None:
        (message,) = self.messages(b"a")
        changes = [Removal(("x",), Delete(), 1, message), change(("y",), message)]
        assert waves(changes, [0]) == [changes]

    def test_events_without_key_are_separated_by_target_key(self) -> None:
        first, second = self.messages(None, None)
        changes = [change(("x",), first), change(("y",), second)]
        assert waves(changes, [0]) == [changes]
        assert waves(changes, []) == [changes]
