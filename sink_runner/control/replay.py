"""Apply events again that were applied: move the stored offsets back, under the fence.

The offsets and epochs change in one transaction, so a worker that has events in hand is fenced, and
every worker claims its partitions again at the new offsets.  The events pass the chain and the
conflict rule as they did at first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from ..errors import ConfigError, RetriableError
from ..kafka.connection import KafkaConnection
from ..kafka.offset_queries import TopicOffsets, offsets_at
from ..kafka.topic_identity import identify
from ..model.message import NO_LEADER_EPOCH
from ..model.partition import Topic
from ..plugin import OnTruncate, Strategy, TableMapping
from ..postgres.session import Connection
from ..recovery.positions import offsets
from .plan import Plan
from .store import audit_action
from .target import Target

_OFFSET = re.compile(r"offset:([0-9]{1,9}):([0-9]{1,18})")
_MOVE = f"""
UPDATE sink.partition_offset SET next_offset = %(start)s, leader_epoch = {NO_LEADER_EPOCH},
  epoch = epoch + 1, owner = %(owner)s, updated_at = now()
WHERE (mapping, cluster_id, topic, topic_id) = (%(mapping)s, %(cluster)s, %(topic)s, %(id)s)
  AND partition = %(partition)s AND next_offset >= %(start)s
"""
# Their events are read again; a second dead letter of an event would wait behind the first.
_SUPERSEDE = """
UPDATE sink.dead_letter SET status = 'SUPERSEDED'
WHERE flow = %(mapping)s AND topic = %(topic)s AND partition = %(partition)s
  AND "offset" >= %(start)s AND status IN ('OPEN', 'PARKED')
"""
_REQUEST = """
INSERT INTO sink.control_request (mapping, kind, arguments, requested_by, taken_at, finished_at,
  outcome)
VALUES (%s, 'replay', %s, %s, now(), now(), 'done')
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin: at a time, or at an offset of one partition."""

    text: str
    """As it was given."""
    time: datetime | None = None
    partition: int = 0
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Start:
        """Read `offset:PARTITION:OFFSET` or a time of ISO 8601, UTC if it has no zone.

        Raises ValueError.
        """
        if found := _OFFSET.fullmatch(text):
            return cls(text, None, int(found[1]), int(found[2]))
        time = datetime.fromisoformat(text)
        return cls(text, time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Step:
    """A partition that is read again, from `start` to `end`, which was the next to apply."""

    partition: int
    start: int
    end: int


def plan_replay(target: Target, start: Start) -> Plan:
    """Return what a replay reads again and what becomes of it.

    Raises ConfigError where the mapping reads no topic, where nothing was applied from there on, or
    where Kafka no longer has the events.
    """
    mapping = target.mapping
    if not mapping.streaming:
        raise ConfigError(f"mapping {target.name!r} reads no topic: {_batch(target.name)}")
    kafka, name = KafkaConnection.of(target.config.kafka), mapping.source_table.topic
    topic = identify(kafka, name)
    held = offsets_at(kafka, name, int(start.time.timestamp() * 1000) if start.time else 0)
    with target.session() as connection:
        applied = offsets(connection, target.name, topic)
    steps = find_steps(target.name, start, held, applied)

    def apply(user: str) -> str:
        with target.session() as connection:
            move(connection, target, topic, steps, user)
        return f"{_count(steps):,} events are read again; `sink-runner status` shows the lag"

    lines = [*_ranges(steps, name), *effects(mapping, target.config.remember_deletes_days)]
    return Plan(lines, f"sink-runner replay {target.name} --from {start.text}", apply)


def find_steps(
    name: str, start: Start, held: Mapping[int, TopicOffsets], applied: Mapping[int, int | None]
) -> list[Step]:
    """Return the partitions to move back.  Raises ConfigError."""
    begins = {partition: one.begins for partition, one in held.items()}
    if start.time is None:
        if start.partition not in held:
            raise ConfigError(f"the topic of mapping {name!r} has no partition {start.partition}")
        begins = {start.partition: start.offset}
    for partition, offset in begins.items():
        _check_held(name, start, partition, offset, held[partition])
    steps = [
        Step(partition, offset, end)
        for partition, offset in sorted(begins.items())
        if (end := applied.get(partition) or 0) > offset
    ]
    if not steps:
        raise ConfigError(
            f"mapping {name!r} has applied no event from {start.text} on, so there is nothing to "
            "replay: a replay only goes back"
        )
    return steps


def _check_held(name: str, start: Start, partition: int, offset: int, held: TopicOffsets) -> None:
    """Raise ConfigError if Kafka has deleted events of the range.

    Of a time it is certain only that all are there if an event before it is there.
    """
    first = held.bounds.first
    if offset < first or (start.time is not None and 0 < first == offset < held.bounds.end):
        raise ConfigError(
            f"Kafka has deleted events of partition {partition} before offset {first}, so those "
            f"from {start.text} on are not complete: choose a later start, or {_batch(name)}"
        )


def effects(mapping: TableMapping, remember_days: float) -> Iterator[str]:
    """Yield what the conflict rule does with the events, what is not harmless, and what is left."""
    yield _GUARDS[mapping.conflict.strategy]
    yield (
        f"a row that was deleted more than {remember_days:g} days ago comes back until its "
        "deletion is read again; one whose deletion is not in the range stays"
    )
    if mapping.conflict.strategy is Strategy.INSERT_ONCE:
        yield "not harmless: rows that were removed from the target since are inserted again"
    if mapping.derived is not None:
        yield (
            "not harmless: rows are derived from intermediate states until the last event is read "
            "again, and expired candidates count until the next maintenance"
        )
    if mapping.conflict_detection is not None:
        yield "not harmless: changes of the target's owner may be recorded as conflicts once more"
    if mapping.on_truncate is OnTruncate.EMPTY:
        yield (
            "not harmless: a TRUNCATE in the range empties the target again, also of rows that a "
            "batch run brought"
        )
    yield "dead letters and deferred events of the range are superseded by their events"
    yield (
        "not reversible: rows that it changes stay changed. No event is lost, whenever the command "
        "or a runner is stopped"
    )


_GUARDS = {
    Strategy.NEWEST_WINS: "newest wins: rows of the target that are newer stay unchanged (stale)",
    Strategy.MERGE_CHANGED: "newest wins: columns of the target that are newer stay unchanged",
    Strategy.SOURCE_WINS: "source wins: events overwrite the target in order, as they did at first",
    Strategy.INSERT_ONCE: "insert once: rows that are in the target stay unchanged",
}


def move(
    connection: Connection, target: Target, topic: Topic, steps: Sequence[Step], user: str
) -> None:
    """Store the new offsets, in one transaction.  Raises RetriableError if one has moved back."""
    moved = {str(one.partition): [one.start, one.end] for one in steps}
    place = {"mapping": target.name, "topic": topic.name}
    identity = {"cluster": topic.cluster_id, "id": topic.topic_id, "owner": f"replay by {user}"}
    with connection.transaction():
        for one in steps:
            values = place | identity | {"partition": one.partition, "start": one.start}
            if connection.execute(_MOVE, values).rowcount != 1:
                raise RetriableError("the offsets have changed since the plan: make it again")
            connection.execute(_SUPERSEDE, values)
        connection.execute(_REQUEST, (target.name, Jsonb(moved), user))
        audit_action(
            connection,
            target.name,
            target.mapping,
            "replay",
            by=user,
            topic=topic.name,
            offsets=moved,
        )


def _ranges(steps: Sequence[Step], topic: str) -> Iterator[str]:
    yield f"{_count(steps):,} events of topic {topic} are read again:"
    for one in steps:
        yield f"  partition {one.partition}: offsets {one.start} to {one.end - 1}"


def _count(steps: Sequence[Step]) -> int:
    return sum(one.end - one.start for one in steps)


def _batch(name: str) -> str:
    return f"run `sink-runner batch {name} --full`"
