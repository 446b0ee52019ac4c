"""The topic of a harness, without Kafka, for `sink-runner explain`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from sink_runner.cli import explain as command
from sink_runner.kafka.feed import Bounds
from sink_runner.model.message import Message

from .conftest import MAPPING

SECRET = "Zarathustra Sevenstein"
CONTESTED = MAPPING.replace("source_wins()", 'merge_changed("town")').replace(
    'columns=(\n            Column("id"), Column("full_name"),',
    "needs_before_image=True, on_delete=Review(),"
    'conflict_detection=ConflictDetection(tie=Tie.TARGET), columns=(Column("id"),',
)
KEEPING = f"""{MAPPING.replace("columns=(", "on_delete=Ignore(), columns=(", 1)}

@hookimpl
def sink_resolve_conflict(incoming, current):
    return current
"""


class Log:
    """The topic of the harness, without Kafka."""

    def __init__(self, harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.harness = harness
        harness.offset = -1
        self.messages: dict[int, Message] = {}
        self.first = 0
        self.since: Mapping[int, int] = {}
        self.requested: datetime | None = None

        @contextmanager
        def opened(_connection: Any) -> Iterator[Log]:
            yield self

        monkeypatch.setattr(command, "open_records", opened)

    # -- what is in Kafka --------------------------------------------------------------------------

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        return {0: Bounds(self.first, self.harness.offset + 1)} if topic in self.topics else {}

    @property
    def topics(self) -> set[str]:
        return {self.harness.topic}

    def read(self, _topic: str, _partition: int, offset: int) -> Message | None:
        return self.messages.get(offset)

    def scan(self, _topic: str, _partition: int, first: int, end: int) -> Iterator[Message]:
        yield from (one for at, one in self.messages.items() if first <= at < end)

    def offsets_since(self, _topic: str, since: datetime) -> Mapping[int, int]:
        self.requested = since
        return self.since

    # -- what the tests do -------------------------------------------------------------------------

    def add(self, identity: int, note: str = "a", **more: Any) -> int:
        """Add an event to the topic; return its offset."""
        more = {"full_name": SECRET} | more
        message = self.harness.event(identity, note, **more)
        self.messages[message.offset] = message
        return message.offset

    def send(self, identity: int, note: str = "a", **more: Any) -> int:
        """Add an event and apply it."""
        offset = self.add(identity, note, **more)
        self.harness.send(self.messages[offset])
        return offset

    def tombstone(self, identity: int) -> int:
        offset = self.add(identity)
        self.messages[offset] = self.messages[offset]._replace(value=None)
        self.harness.send(self.messages[offset])
        return offset

    def execute(self, statement: str) -> None:
        self.harness.admin.execute(statement)

    def call(self, offset: int, *arguments: str) -> tuple[int, str, str]:
        return self.harness.call("explain", "--at", f"{self.harness.topic}:0:{offset}", *arguments)

    def explain(self, offset: int) -> dict[str, Any]:
        code, out, err = self.call(offset, "--json")
        assert SECRET not in out + err
        assert err == ""
        found = json.loads(out)
        assert code == (0 if found["good"] else 1)
        return found
