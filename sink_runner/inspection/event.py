"""Explain one record of a mapping's topic: its steps, and why its row is in the target or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, Protocol

from ..errors import ConfigError
from ..kafka.feed import Bounds
from ..loading import discovery
from ..model.changes import Write
from ..model.message import Message
from .decision import Evidence, decide, find_conflicts, key_texts
from .dry_run import DryRun, open_dry_run
from .explain import explain_message, visible_row
from .explanation import STOPPED, Decision, Explained, Reason
from .service import DlqService
from .target_state import may_write, read_event_state, read_row_state


class Place(NamedTuple):
    """The place of a record in Kafka."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read ``topic:partition:offset``.  Raises ValueError."""
        topic, partition, offset = text.rsplit(":", 2)
        if not (topic and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(text)
        return cls(topic, int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class RecordSource(Protocol):
    """Reads records of Kafka."""

    def bounds(self, topic: str) -> Mapping[int, Bounds]: ...

    def read(self, topic: str, partition: int, offset: int) -> Message | None: ...

    def scan(self, topic: str, partition: int, first: int, end: int) -> Iterator[Message]: ...

    def offsets_since(self, topic: str, since: datetime) -> Mapping[int, int]: ...


def explain_place(
    service: DlqService, plugin: discovery.Plugin, place: Place, records: RecordSource
) -> Explained:
    """Explain the record at a place.  Nothing is written, and no offset of a group changes."""
    if plugin.mapping is None or not plugin.mapping.streaming:
        raise ConfigError(f"mapping {plugin.name!r} reads no topic: only batch runs write its rows")
    if place.topic != plugin.mapping.source_table.topic:
        raise ConfigError(
            f"mapping {plugin.name!r} reads topic {plugin.mapping.source_table.topic!r}, and not "
            f"{place.topic!r}"
        )
    explained = Explained(str(place), plugin.name)
    bounds = records.bounds(place.topic).get(place.partition)
    found = _read(place, records, bounds)
    if isinstance(found, str):
        explained.decision = Decision(Reason.NO_RECORD, found)
    elif bounds and place.offset > bounds.first and _follows_deletion(found, records):
        text = "The record is the tombstone after a delete event, which removed the row, if any."
        explained.add("decode", STOPPED, "a tombstone")
        explained.decision = Decision(Reason.TOMBSTONE, text)
    else:
        explain_record(explained, service, plugin, found)
    return explained


def explain_record(
    explained: Explained, service: DlqService, plugin: discovery.Plugin, message: Message
) -> Evidence:
    """Add the steps of a record, the target's row and the decision."""
    with open_dry_run(service, plugin, of_batch=False) as dry:
        found = collect(explained, service, dry, message)
        explained.decision = decide(found)
        return found


def collect(explained: Explained, service: DlqService, dry: DryRun, message: Message) -> Evidence:
    """Add the steps of a message and the target's row, and return what is known of it."""
    with dry.target_session() as session:
        state = read_event_state(session, dry.pipeline.name, message)
        writes = may_write(session)
    passage = explain_message(explained, service, dry, message, writes=writes)
    found = Evidence(
        service=service, dry=dry, message=message, explained=explained, passage=passage, state=state
    )
    change = passage.change
    if change is None or not writes:
        return found
    with dry.target_session() as session:
        write = change if isinstance(change, Write) else None
        row = read_row_state(session, dry, change.key, service.encryptor, write=write)
        texts = key_texts(service, dry, message, change.key)
        conflicts = find_conflicts(session, dry, texts)
    if row.values is not None:
        explained.target = visible_row(service, dry.pipeline, row.values)
    return replace(found, row=row, conflicts=conflicts)


def _read(place: Place, records: RecordSource, bounds: Bounds | None) -> Message | str:
    """Return the record, or the sentence why there is none."""
    if bounds is None:
        return f"Kafka has no partition {place.partition} of topic {place.topic!r}."
    if place.offset >= bounds.end:
        return f"Kafka has no such record yet: the partition ends at offset {bounds.end}."
    if place.offset < bounds.first:
        return (
            "Kafka no longer has the record: the partition begins at offset "
            f"{bounds.first}, and what was before is past the topic's retention."
        )
    return records.read(*place) or (
        "Kafka has no record at this offset: compaction removed it, or it is the mark of a "
        "transaction."
    )


def _follows_deletion(message: Message, records: RecordSource) -> bool:
    if message.value is not None:
        return False
    before = records.scan(message.topic, message.partition, message.offset - 1, message.offset)
    return any(one.key == message.key for one in before)
