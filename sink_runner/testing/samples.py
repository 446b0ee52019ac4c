"""Turn samples into the messages of Kafka, and decode these as the runner does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from sink_runner.model.envelope import Decoded
from sink_runner.model.message import Message
from sink_runner.plugin import ABSENT, TableMapping
from sink_runner.transform.before_image import columns_before
from sink_runner.transform.event_source import EventSource
from sink_runner.transform.incoming import Shape
from sink_runner.transform.row_plan import SourceColumn

from .events import Sample, kind_of, spelled


class Samples:
    """The events of one mapping's tests."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping
        self._shapes: list[Shape] = []
        self._decoded: list[Decoded] = []
        keys = (mapping.derived or mapping).key
        self._key = [column for column in mapping.columns if column.name in keys]

    @property
    def source(self) -> EventSource:
        """The source of these events, whose key has the source columns of the target's key."""
        return EventSource(
            decode=self.decode,
            shape_of=lambda value: self._shapes[_number(value)],
            subject=lambda _message: "",
            source_key={name for column in self._key for name in column.sources},
        )

    def decode(self, messages: Sequence[Message]) -> list[Decoded]:
        return [self._decoded[_number(message.value)] for message in messages]

    def messages(self, *samples: Sample) -> list[Message]:
        """Return the messages of the events, as one batch of Kafka."""
        return [self._message(offset, sample) for offset, sample in enumerate(samples)]

    def _message(self, offset: int, sample: Sample) -> Message:
        """Each event has a schema of its own, so that each may use other Python types."""
        after, before = self._mapping.source_columns, columns_before(self._mapping)
        self._shapes.append(
            Shape(_columns(after, sample, sample.after), _columns(before, sample, sample.before))
        )
        header = b"\0" + (len(self._shapes) - 1).to_bytes(4)
        seen = sample.before if self._mapping.needs_before_image or sample.op == "d" else None
        row = _values(after, sample.after)
        event = Decoded(
            op=sample.op,
            after=row,
            before=_values(before, seen),
            lsn=sample.position,
            ts_ms=round(sample.committed_at.replace(tzinfo=UTC).timestamp() * 1000),
            origin=sample.origin,
            snapshot=None,
            partial=ABSENT in (row or ()),
        )
        self._decoded.append(event)
        headers = [("__debezium.newkey", b"{}")] if sample.moved else []
        return Message(
            self._mapping.source_table.topic, 0, offset, self._key_of(sample), header, headers
        )

    def _key_of(self, sample: Sample) -> bytes:
        row = (sample.before if sample.after is None else sample.after) or {}
        columns = [column for column in self._key if not column.lookups] or self._key
        return repr([row.get(name) for column in columns for name in column.sources]).encode()


def _number(value: bytes | None) -> int:
    assert value is not None
    return int.from_bytes(value[1:5])


def _columns(
    names: Sequence[str], sample: Sample, row: Mapping[str, Any] | None
) -> list[SourceColumn]:
    values = row or {}
    return [
        SourceColumn(name, sample.kinds.get(name) or kind_of(values.get(name)), _type(values, name))
        for name in names
    ]


def _type(values: Mapping[str, Any], name: str) -> str | None:
    return "numeric" if type(values.get(name)).__name__ == "Decimal" else None


def _values(names: Sequence[str], row: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    if row is None:
        return None
    return tuple(spelled(row.get(name, ABSENT)) for name in names)
