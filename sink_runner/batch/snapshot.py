"""What a batch sees of its source: one snapshot, its place in the log, and what has changed since.

A row carries the number of the transaction that wrote it, ``xmin``.  What the snapshot of an
earlier run did not see was written by a transaction from that snapshot's own xmin on; so the
rows with such a number are all that changed, however late they were committed.  Some that are
read so were seen before; that does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from ..config.dsn import Dsn
from ..postgres.session import connect

Connection = psycopg.Connection[Any]

_ROUND = 2**32  # so many numbers there are before they begin anew
_RECENT = 2**31  # within so many, of two transactions it is certain which is the older
_PAUSE = 0.05

_SETTINGS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)
# First the place, then a number of our own: what is written before the place has a smaller one.
# A snapshot's xmax would not do: it follows the last number that has ended, and the numbers of
# transactions that go on may be greater.
_PLACE = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
_NEXT = "SELECT pg_current_xact_id()::text::int8"
_OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8"
_SEEN = """
SELECT pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8,
       clock_timestamp() AT TIME ZONE 'UTC',
       (SELECT system_identifier FROM pg_control_system())
         || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
FROM pg_current_snapshot() s
"""


class Place(NamedTuple):
    """A position of the log, and the number below which every transaction must have ended
    before a snapshot is sure to see all that was written up to there."""

    position: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one read sees."""

    xmin: int
    """The oldest transaction that it may not see, as a 64-bit number."""
    xmax: int
    at: datetime
    """UTC."""
    cluster: str
    """Which servers' numbers these are: system identifier and timeline."""
    sampled: Place
    """Taken before the snapshot; later ones may rely on it."""
    place: Place
    """The snapshot sees every change up to this position."""

    @property
    def settled(self) -> bool:
        """Had everything ended in time that was running when the run began?"""
        return self.place == self.sampled

    @property
    def seen_before(self) -> int:
        """What has a smaller number need not be read again."""
        return min(self.xmin, self.place.before)


NOWHERE = Place(0, 0)


def open_source(dsn: Dsn, mapping: str) -> Connection:
    """A session that reads as long as it takes, and spells values as the rows' reader expects."""
    connection = connect(dsn, f"sink-runner batch {mapping}")
    for setting in _SETTINGS:
        connection.execute(setting.encode())
    return connection


def take_snapshot(
    connection: Connection,
    *,
    patience: float,
    earlier: Callable[[str], Sequence[Place]],
    stopped: Callable[[], bool],
) -> Snapshot:
    """Begin a transaction that sees one moment of the source.

    Waits up to `patience` seconds for the transactions now running to end.  If one goes on, the
    best of the `earlier` places of the cluster is taken: one before which all has ended.
    """
    sampled = Place(_number(connection, _PLACE), _number(connection, _NEXT))
    deadline = time.monotonic() + patience
    while _number(connection, _OLDEST) < sampled.before:
        if time.monotonic() > deadline or stopped():
            break
        time.sleep(_PAUSE)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    row = connection.execute(_SEEN.encode()).fetchone()
    assert row is not None
    xmin, xmax, at, cluster = row
    places = [sampled, *earlier(cluster), NOWHERE]
    place = max(place for place in places if place.before <= xmin)
    return Snapshot(xmin=xmin, xmax=xmax, at=at, cluster=cluster, sampled=sampled, place=place)


def changed_since(seen_before: int, now: Snapshot) -> str | None:
    """A condition on a row: written since then.  None: only reading all of them would tell.

    It has no parameters; what is compared are numbers of ours.
    """
    span = now.xmax - seen_before
    if not 0 <= span < _RECENT:
        return None
    age = f"({now.xmax % _ROUND} - xmin::text::int8 + {_ROUND}) % {_ROUND}"
    return f"(({age}) <= {span})"


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
