"""Query stored dead letters by id, mapping, error, time, status or key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from ..model.message import ROWS
from ..model.portions import DEFAULT_BYTES, first_portion

Connection = psycopg.Connection[Any]

STATUSES = ("OPEN", "PARKED", "REPLAYED", "DISCARDED", "SUPERSEDED")
OPEN, PARKED, REPLAYED, DISCARDED, SUPERSEDED = STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter of dead letters; a field that is None or empty does not restrict it."""

    ids: Collection[int] | None = None
    mapping: str | None = None
    error: str | None = None
    """The name of an error class, or an SQLSTATE."""
    since: datetime | None = None
    until: datetime | None = None
    statuses: Collection[str] = ()
    fingerprints: Collection[bytes] | None = None
    """Fingerprints of the wanted keys."""

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "ids": None if self.ids is None else list(self.ids),
            "mapping": self.mapping,
            "error": self.error,
            "since": self.since,
            "until": self.until,
            "statuses": list(self.statuses) or None,
            "keys": None if self.fingerprints is None else list(self.fingerprints),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDeadLetter:
    """A dead letter, encrypted."""

    dlq_id: int
    flow: str
    topic: str
    partition: int | None
    offset: int
    error_class: str
    sqlstate: str | None
    error_message: str
    stack_trace: str
    key_id: str
    plugin_version: str
    attempts: int
    status: str
    created_at: datetime
    event_key_hash: bytes | None
    source_data: bytes | None
    """None once the dead letter is settled."""

    @property
    def of_batch(self) -> bool:
        """Whether it is a row of a batch run and not an event."""
        return self.partition is None

    @property
    def place(self) -> tuple[str, int, int]:
        """Return topic, partition and offset, which the encryption authenticates."""
        return self.topic, ROWS if self.partition is None else self.partition, self.offset

    def as_json(self, database: str) -> dict[str, Any]:
        """Return the fields that are readable without a key."""
        hidden = {"dlq_id", "event_key_hash", "source_data"}
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        moment = self.created_at.isoformat(timespec="seconds")
        return {"id": f"{database}/{self.dlq_id}", **found, "created_at": moment}


class Count(NamedTuple):
    """How many dead letters of a mapping have failed for one reason."""

    mapping: str
    error_class: str
    sqlstate: str | None
    status: str
    dead_letters: int
    first: datetime
    last: datetime

    def as_json(self) -> dict[str, Any]:
        moments = {name: getattr(self, name).isoformat() for name in ("first", "last")}
        return self._asdict() | moments


_WHERE = """
WHERE (%(ids)s::bigint[] IS NULL OR dlq_id = ANY (%(ids)s))
  AND (%(mapping)s::text IS NULL OR flow = %(mapping)s)
  AND (%(error)s::text IS NULL OR %(error)s IN (error_class, sqlstate))
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
  AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
  AND (%(keys)s::bytea[] IS NULL OR event_key_hash = ANY (%(keys)s))
"""
_COLUMNS = ", ".join(f'"{field.name}"' for field in fields(StoredDeadLetter))
_WITHOUT_PAYLOAD = _COLUMNS.replace('"source_data"', "''::bytea AS source_data")
_FIND = f"SELECT {_WITHOUT_PAYLOAD} FROM sink.dead_letter {_WHERE} ORDER BY dlq_id LIMIT %(most)s"
_IDS = f"SELECT dlq_id FROM sink.dead_letter {_WHERE} ORDER BY dlq_id"
# The size of a value that is stored out of line is known without reading it.
SIZED = "SELECT dlq_id, coalesce(octet_length(source_data), 0) FROM sink.dead_letter"
_AFTER = f"{SIZED} {_WHERE} AND dlq_id > %(after)s ORDER BY dlq_id LIMIT 500"
_READ = f"SELECT {_COLUMNS} FROM sink.dead_letter WHERE dlq_id = ANY (%(ids)s) ORDER BY dlq_id"
_SUMMARY = f"""
SELECT flow, error_class, sqlstate, status, count(*), min(created_at), max(created_at)
FROM sink.dead_letter {_WHERE} GROUP BY 1, 2, 3, 4 ORDER BY 1, 4, 5 DESC
"""
_AT = f"""
SELECT {_WITHOUT_PAYLOAD} FROM sink.dead_letter
WHERE flow = %(mapping)s AND topic = %(topic)s AND partition = %(partition)s
  AND "offset" = %(offset)s ORDER BY dlq_id DESC LIMIT 1
"""
_BEFORE = f"""
SELECT {_WITHOUT_PAYLOAD} FROM sink.dead_letter
WHERE flow = %(mapping)s AND partition = %(partition)s AND status IN ('OPEN', 'PARKED')
  AND event_key_hash IS NOT DISTINCT FROM %(key)s AND dlq_id < %(id)s ORDER BY dlq_id LIMIT 1
"""
_TOPICS = "SELECT DISTINCT topic FROM sink.dead_letter WHERE topic IS NOT NULL"


def find(connection: Connection, wanted: Wanted, *, most: int) -> list[StoredDeadLetter]:
    """Return the oldest dead letters, without their payloads."""
    parameters = wanted.parameters | {"most": most}
    return _read(connection, _FIND, parameters)


def find_after(connection: Connection, wanted: Wanted, after: int) -> list[StoredDeadLetter]:
    """Return the next dead letters after a number, of bounded size."""
    found = first_sized(connection, _AFTER, wanted.parameters | {"after": after})
    return read(connection, found)


def first_sized(
    connection: Connection, query: str, parameters: Mapping[str, Any] | Sequence[Any]
) -> list[int]:
    """Return the first dead letters of a `SIZED` query whose payloads fit into memory.

    A second statement reads them, so that the query can lock them first.
    """
    heads = connection.execute(query.encode(), parameters).fetchall()
    return [number for number, _ in first_portion(heads, itemgetter(1), DEFAULT_BYTES)]


def read(connection: Connection, numbers: Sequence[int]) -> list[StoredDeadLetter]:
    """Return the dead letters of these numbers, with their payloads."""
    return _read(connection, _READ, {"ids": list(numbers)})


def ids(connection: Connection, wanted: Wanted) -> list[int]:
    return [row[0] for row in connection.execute(_IDS.encode(), wanted.parameters).fetchall()]


def summary(connection: Connection, wanted: Wanted) -> list[Count]:
    """Count by mapping, error and status."""
    return [Count(*row) for row in connection.execute(_SUMMARY.encode(), wanted.parameters)]


def find_at(
    connection: Connection, mapping: str, topic: str, partition: int, offset: int
) -> StoredDeadLetter | None:
    """Return the dead letter or deferred event of a record, without its payload."""
    place = {"mapping": mapping, "topic": topic, "partition": partition, "offset": offset}
    return next(iter(_read(connection, _AT, place)), None)


def find_before(connection: Connection, waiting: StoredDeadLetter) -> StoredDeadLetter | None:
    """Return the oldest event of the same key that a deferred event waits behind."""
    key = {
        "mapping": waiting.flow,
        "partition": waiting.partition,
        "key": waiting.event_key_hash,
        "id": waiting.dlq_id,
    }
    return next(iter(_read(connection, _BEFORE, key)), None)


def topics(connection: Connection) -> list[str]:
    """Return the topics of all dead letters."""
    return [row[0] for row in connection.execute(_TOPICS).fetchall()]


def _read(
    connection: Connection, query: str, parameters: Mapping[str, Any]
) -> list[StoredDeadLetter]:
    with connection.cursor(row_factory=class_row(StoredDeadLetter)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()
