"""Explain one row by its key in the source: why the target has it or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from ..batch.snapshot import open_source
from ..batch.source import Source
from ..config.database import find_database
from ..dlq.stored_dead_letters import Wanted, find
from ..errors import ConfigError
from ..loading import discovery
from ..model.changes import Key
from ..model.message import ROWS, Message
from ..plugin import TableMapping
from ..postgres.catalog import read_table
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import has_tables
from ..postgres.session import Connection
from .decision import Evidence, decide_source_row, find_conflicts, key_texts
from .dry_run import DryRun, open_dry_run
from .event import Place, RecordSource, collect, explain_record
from .explain import visible_row
from .explanation import Decision, Explained, Reason
from .key_text import encoded, fingerprints, key_values
from .row_facts import (
    MOST,
    RowFacts,
    describe_conflicts,
    describe_dead_letters,
    read_audit_entries,
    read_findings,
)
from .service import DlqService
from .tables import progress
from .target_state import RowState, may_write, read_event_state, read_row_state

_HEADER = 5
"""The bytes of a key that name its schema; the latest one need not be that of every record."""
_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
_ALL = 1_000
_LACKING = frozenset(
    {Reason.MISSING, Reason.DIFFERENT, Reason.REMOVED, Reason.REMOVED_BY_BATCH, Reason.NOT_APPLIED}
)
"""What the target's row says of a source row that the mapping writes."""
_SET_ASIDE = frozenset({Reason.NOT_APPLIED, Reason.DEAD, Reason.DEFERRED, Reason.DISCARDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Which records of the topic are read."""

    last: int = 10_000
    """The newest records of each partition."""
    since: datetime | None = None
    """If given, all records from this time on instead."""

    def __str__(self) -> str:
        if self.since is not None:
            return f"the records since {self.since.isoformat(timespec='seconds')}"
        return f"the last {self.last} records of each partition"


@dataclass(slots=True, kw_only=True)
class RowExplanation:
    """Why the target has a row or not, and what is known of the row; values are masked."""

    mapping: str
    decision: Decision
    source_row: Explained | None
    """None if the source has no such row, or if it cannot be read by a key."""
    event: Explained | None
    """The newest event of the row, among those read."""
    target: dict[str, Any] | None
    facts: RowFacts = field(default_factory=RowFacts)

    def record(self) -> dict[str, Any]:
        facts = {name: list(getattr(self.facts, name)) for name in RowFacts.__slots__}
        return {
            **self.decision._asdict(),
            "good": self.decision.good,
            "mapping": self.mapping,
            "source_row": self.source_row and self.source_row.record(),
            "newest_event": self.event and self.event.record(),
            "target": self.target,
            **facts,
        }


def explain_key(
    service: DlqService,
    plugin: discovery.Plugin,
    key: str,
    records: RecordSource | None,
    limits: Limits,
) -> RowExplanation:
    """Explain the row with this key.  Nothing is written, and no offset of a group changes.

    `records` is None for a mapping that only batch runs write.
    """
    assert plugin.mapping is not None
    source = read_source(service, plugin, key)
    events = _find_events(service, plugin.mapping, key, records, limits) if records else []
    event = None
    if events:
        event = explain_record(_explained(plugin, events[-1]), service, plugin, events[-1])
    with open_dry_run(service, plugin, of_batch=True) as dry:
        row = None
        if source.message is not None:
            row = collect(_explained(plugin, source.message), service, dry, source.message)
            row.explained.decision = decide_source_row(row)
        found = _Found(service=service, dry=dry, source=source, row=row, event=event)
        with dry.target_session() as session:
            found.read_target(session)
            facts = found.read_facts(session, fingerprints_of(service, plugin, key), events)
    return RowExplanation(
        mapping=plugin.name,
        decision=found.decide(limits),
        source_row=row.explained if row else None,
        event=event.explained if event else None,
        target=found.target,
        facts=facts,
    )


# -- what is read ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A row of the source, read by its key as a batch run reads it."""

    key: Mapping[str, str]
    """The texts of the key by column; empty if the mapping reads a query, whose rows have none."""
    message: Message | None = None


def read_source(service: DlqService, plugin: discovery.Plugin, key: str) -> SourceRow:
    """Read the row with this key now.  Raises ConfigError for a key of other columns or types."""
    mapping = plugin.mapping
    assert mapping is not None
    table = mapping.source_table
    dsn = find_database(service.config.databases, table.database).reader_dsn
    with classified_errors(), closing(open_source(dsn, plugin.name)) as connection:
        source = Source.of(mapping, read_table(connection, table), connection)
        if not source.format.key:
            return SourceRow(key={})
        values = key_values(key, source.format.key)
        ((position,),) = connection.execute(_POSITION).fetchall()
        lines = _read_key(source, connection, values)
    head = source.format.head(position, datetime.now(UTC).replace(tzinfo=None))
    return SourceRow(
        key=dict(zip(source.format.key, values, strict=True)),
        message=source.format.message(head, lines[0], 0) if lines else None,
    )


def _read_key(source: Source, connection: Connection, values: Sequence[str]) -> list[bytes]:
    try:
        return list(source.read_keys(connection, [values]))
    except psycopg.DataError:
        names = ", ".join(source.format.key)
        raise ConfigError(
            f"the key is not a value of the types of {names} in {source.mapping.source}"
        ) from None


def _find_events(
    service: DlqService, mapping: TableMapping, key: str, records: RecordSource, limits: Limits
) -> list[Message]:
    """Return the newest events of a key, the oldest first."""
    topic = mapping.source_table.topic
    known = service.schemas.latest(f"{topic}-key")
    wanted = encoded(key, *known) if known is not None else None
    if wanted is None:
        return []
    bounds = records.bounds(topic)
    firsts = {at: max(one.first, one.end - limits.last) for at, one in bounds.items()}
    if limits.since is not None:
        firsts |= records.offsets_since(topic, limits.since)
    found: deque[Message] = deque(maxlen=MOST)
    total = sum(max(0, bounds[at].end - first) for at, first in firsts.items())
    with progress() as bar:
        task = bar.add_task("reading the topic", total=total)
        for partition, first in firsts.items():
            for message in records.scan(topic, partition, first, bounds[partition].end):
                bar.advance(task)
                if message.key is not None and message.key[_HEADER:] == wanted[_HEADER:]:
                    found.append(message)
    changes = [one for one in found if one.value is not None]
    return changes or list(found)


def fingerprints_of(service: DlqService, plugin: discovery.Plugin, key: str) -> list[bytes]:
    """Return the fingerprints by which the runner's tables store a source key."""
    assert plugin.mapping is not None
    return fingerprints(
        key, [plugin.mapping.source_table.topic], service.schemas, service.encryptor
    )


def _explained(plugin: discovery.Plugin, message: Message) -> Explained:
    is_row = message.partition == ROWS
    return Explained("source row" if is_row else _place(message), plugin.name)


def _place(message: Message) -> str:
    return str(Place(message.topic, message.partition, message.offset))


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was found of one row."""

    service: DlqService
    dry: DryRun
    source: SourceRow
    row: Evidence | None
    """Of the source row as it is now."""
    event: Evidence | None
    """Of the newest event."""
    state: RowState | None = None
    """The target's row; None if its key is not known."""
    target: dict[str, Any] | None = None

    @property
    def key(self) -> Key | None:
        """The target's key; None if it can't be derived from the source's."""
        for one in (self.row, self.event):
            if one is not None and one.passage.change is not None:
                return one.passage.change.key
        columns = self.dry.keys.source_columns
        if columns is None or not set(columns) <= self.source.key.keys():
            return None
        return tuple(self.source.key[name] for name in columns)

    def read_target(self, session: Connection) -> None:
        """Read the target's row of the key."""
        self.state = self.row.row if self.row is not None else None
        if self.state is None and self.key is not None and may_write(session):
            self.state = read_row_state(session, self.dry, self.key, self.service.encryptor)
        if self.state is not None and self.state.values is not None:
            self.target = visible_row(self.service, self.dry.pipeline, self.state.values)

    def read_facts(
        self, session: Connection, fingerprints: Sequence[bytes], events: Sequence[Message]
    ) -> RowFacts:
        """Read what the runner's tables have of the row."""
        if not has_tables(session):
            return RowFacts()
        name = self.dry.pipeline.name
        database = self.dry.pipeline.mapping.target_table.database
        found = find(session, Wanted(mapping=name, fingerprints=fingerprints), most=_ALL)
        known = [one for one in (self.row, self.event) if one is not None]
        texts = [
            text
            for one in known
            for text in key_texts(self.service, one.dry, one.message, self.key)
        ]
        return RowFacts(
            events=[self._describe(session, message) for message in reversed(events)],
            dead_letters=describe_dead_letters(database, found),
            conflicts=describe_conflicts(find_conflicts(session, self.dry, texts)),
            findings=read_findings(session, name, fingerprints),
            audit=read_audit_entries(session, name, texts),
        )

    def _describe(self, session: Connection, message: Message) -> dict[str, Any]:
        state = read_event_state(session, self.dry.pipeline.name, message)
        applied = state.progress is not None and message.offset < state.progress.next_offset
        stored = state.dead_letter
        return {
            "at": _place(message),
            "applied": applied,
            "dead_letter": stored and f"{stored.dlq_id} {stored.status}",
        }

    # -- the decision --------------------------------------------------------------------------

    def decide(self, limits: Limits) -> Decision:
        """Return why the target has the row or not."""
        event = self.event.explained.decision if self.event is not None else None
        if self.row is None:
            return self._without_source(event)
        row = self.row.explained.decision
        assert row is not None
        if row.reason is Reason.PRESENT or (event is None and row.reason not in _LACKING):
            return row
        if event is not None and event.reason in _SET_ASIDE:
            return event
        if row.reason not in _LACKING:
            return row
        return self._lacking(row, limits)

    def _without_source(self, event: Decision | None) -> Decision:
        if event is not None and event.reason in _SET_ASIDE:
            return event
        if not self.source.key:
            return event or Decision(
                Reason.NO_SOURCE, "The mapping reads a query, whose rows cannot be read by a key."
            )
        if self.state is not None and self.state.values is not None:
            return Decision(
                Reason.EXTRA,
                "The source has no such row, and the target has it: its deletion was not captured, "
                "or the mapping leaves the row. See `sink-runner reconcile "
                f"{self.dry.pipeline.name} --full`.",
            )
        return Decision(Reason.NO_SOURCE, "The source has no such row, and neither has the target.")

    def _lacking(self, row: Decision, limits: Limits) -> Decision:
        """Return the decision on a source row that the target lacks or has with other values."""
        name = self.dry.pipeline.name
        columns = ", ".join(self.state.differing) if self.state is not None else ""
        what = f"has other values in {columns}" if columns else "lacks it"
        if not self.dry.pipeline.mapping.streaming:
            return Decision(
                Reason.NOT_APPLIED,
                f"The source has the row and the target {what}: no batch run has brought it yet. "
                f"Run `sink-runner batch {name}`.",
            )
        if self.event is None:
            return Decision(
                Reason.NOT_CAPTURED,
                f"The source has the row and the target {what}, and {limits} have no event of it: "
                "Debezium has not captured it, or its event is older.",
            )
        why = "" if row.reason in (Reason.MISSING, Reason.DIFFERENT) else f" {row.sentence}"
        return Decision(
            Reason.DIFFERENT if columns else Reason.MISSING,
            f"The source has the row and its newest event was applied, but the target {what}.{why} "
            f"`sink-runner reconcile {name} --repair` writes it again.",
        )
