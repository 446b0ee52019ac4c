"""The heartbeats of runners: `sink.mapping_status`, in the target database of each mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ..model.status import Health, State
from ..postgres.session import Connection
from .store import Pause
from .way_out import RESUME, way_out

GONE_SECONDS = 60.0
"""A runner that has not reported for this long is gone."""
ENDED = "ended"
WAITING = "waiting"
_WRITE = """
INSERT INTO sink.mapping_status AS s (mapping, runner, state, reason, way_out, next_try,
  lag_events, lag_seconds, last_event_at, applied_commit_at, versions)
VALUES (%(mapping)s, %(runner)s, %(state)s, %(reason)s, %(way_out)s, %(next_try)s,
  %(lag_events)s, %(lag_seconds)s, %(last_event_at)s, %(applied_commit_at)s, %(versions)s)
ON CONFLICT (mapping, runner) DO UPDATE SET state = excluded.state, reason = excluded.reason,
  way_out = excluded.way_out, next_try = excluded.next_try, lag_events = excluded.lag_events,
  lag_seconds = excluded.lag_seconds, versions = excluded.versions, seen_at = now(),
  last_event_at = coalesce(excluded.last_event_at, s.last_event_at),
  applied_commit_at = coalesce(excluded.applied_commit_at, s.applied_commit_at)
"""
_FORGET = "DELETE FROM sink.mapping_status WHERE seen_at < now() - interval '1 day'"
_END = "UPDATE sink.mapping_status SET state = %s, seen_at = now() WHERE runner = %s"
_READ = """
SELECT mapping, runner, state, reason, way_out, next_try, lag_events, lag_seconds, last_event_at,
  applied_commit_at, versions, extract(epoch FROM now() - seen_at)::float8 AS age
FROM sink.mapping_status WHERE mapping = ANY (%s) ORDER BY seen_at DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The state of one mapping, as one runner reports it."""

    mapping: str
    runner: str
    state: str
    reason: str
    way_out: str
    next_try: datetime | None
    lag_events: int | None
    lag_seconds: float | None
    last_event_at: datetime | None
    applied_commit_at: datetime | None
    versions: dict[str, str] = field(default_factory=dict)
    age: float = 0.0
    """Seconds since it was written, by the database's clock."""

    @property
    def is_fresh(self) -> bool:
        return self.state != ENDED and self.age < GONE_SECONDS


def beat(
    health: Health, mapping: str, runner: str, pause: Pause | None, versions: Mapping[str, str]
) -> Heartbeat:
    """Return the present state of a mapping in this process.

    A worker that is paused by an operator is paused; one that is paused by an error waits.
    """
    status, lag, progress = (
        health.statuses()[mapping],
        health.lag(mapping),
        health.progress(mapping),
    )
    state, remedy = status.state.value, way_out(mapping, status)
    if status.state is State.PAUSED:
        is_wanted = pause is not None and status.reason == str(pause)
        state, remedy = (state, RESUME.format(mapping=mapping)) if is_wanted else (WAITING, remedy)
    return Heartbeat(
        mapping=mapping,
        runner=runner,
        state=state,
        reason=status.reason,
        way_out=remedy,
        next_try=_time(status.next_try),
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        last_event_at=_time(progress.written_at),
        applied_commit_at=_time(progress.committed_at),
        versions=dict(versions),
    )


def write(connection: Connection, beats: Sequence[Heartbeat]) -> None:
    """Store the heartbeats of a runner, and forget runners that have been gone for a day."""
    rows = [asdict(one) | {"versions": Jsonb(one.versions)} for one in beats]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_WRITE, rows)
        cursor.execute(_FORGET)


def end(connection: Connection, runner: str) -> None:
    """Store that a runner has ended."""
    connection.execute(_END, (ENDED, runner))


def read(connection: Connection, mappings: Sequence[str]) -> list[Heartbeat]:
    """Return the heartbeats of these mappings, the newest first."""
    with connection.cursor(row_factory=class_row(Heartbeat)) as cursor:
        return cursor.execute(_READ, (list(mappings),)).fetchall()


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
