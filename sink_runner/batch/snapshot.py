"""Take the snapshot that a batch run reads, with its position in the log.

A row contains the number of the transaction that wrote it, ``xmin``.  Rows that the snapshot of an
earlier run did not see have numbers not less than that snapshot's own xmin, however late they were
committed.  So the rows with such numbers include all changes.  Some rows are read twice, which is
harmless.
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

_XID_RANGE = 2**32  # transaction numbers wrap around after this many
_MAX_XID_AGE = 2**31  # of two numbers at most this far apart, it is certain which is older
_POLL_SECONDS = 0.05

_SETTINGS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)
# The position is read before this session's transaction number, so every transaction that wrote
# before the position has a smaller number.  A snapshot's xmax does not have this property: it is
# one more than the last number that has ended, and running transactions may have greater numbers.
_LOG_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
_OWN_XID = "SELECT pg_current_xact_id()::text::int8"
_OLDEST_RUNNING_XID = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8"
_SNAPSHOT = """
SELECT pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8,
       clock_timestamp() AT TIME ZONE 'UTC',
       (SELECT system_identifier FROM pg_control_system())
         || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
FROM pg_current_snapshot() s
"""


class Place(NamedTuple):
    """A position in the log, and a transaction number.

    A snapshot sees all that was written up to the position if every transaction with a smaller
    number has ended.
    """

    position: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The snapshot that one run reads, and its position in the log."""

    xmin: int
    """The oldest transaction that the snapshot may not see, as a 64-bit number."""
    xmax: int
    at: datetime
    """UTC."""
    cluster: str
    """System identifier and timeline of the server that the numbers belong to."""
    sampled: Place
    """The position when the run began, which later runs may use."""
    place: Place
    """The snapshot sees every change up to this position."""

    @property
    def settled(self) -> bool:
        """Whether all transactions that were running when the run began have ended."""
        return self.place == self.sampled

    @property
    def seen_before(self) -> int:
        """The snapshot sees all transactions with smaller numbers: the next run skips them."""
        return min(self.xmin, self.place.before)


NOWHERE = Place(0, 0)


def open_source(dsn: Dsn, mapping: str) -> Connection:
    """Open a session without time limits that formats values as `RowFormat` reads them."""
    connection = connect(dsn, f"sink-runner batch {mapping}")
    for setting in _SETTINGS:
        connection.execute(setting.encode())
    return connection


def take_snapshot(
    connection: Connection,
    *,
    settle_seconds: float,
    earlier: Callable[[str], Sequence[Place]],
    stopped: Callable[[], bool],
) -> Snapshot:
    """Begin a transaction with one snapshot of the source for all its queries.

    Waits up to `settle_seconds` for the running transactions to end.  If one does not, the snapshot
    gets the latest of the `earlier` positions before which all transactions have ended.
    """
    sampled = Place(_fetch_number(connection, _LOG_POSITION), _fetch_number(connection, _OWN_XID))
    deadline = time.monotonic() + settle_seconds
    while _fetch_number(connection, _OLDEST_RUNNING_XID) < sampled.before:
        if time.monotonic() > deadline or stopped():
            break
        time.sleep(_POLL_SECONDS)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    row = connection.execute(_SNAPSHOT.encode()).fetchone()
    assert row is not None
    xmin, xmax, at, cluster = row
    places = [sampled, *earlier(cluster), NOWHERE]
    place = max(place for place in places if place.before <= xmin)
    return Snapshot(xmin=xmin, xmax=xmax, at=at, cluster=cluster, sampled=sampled, place=place)


def changed_since(seen_before: int, now: Snapshot) -> str | None:
    """Return the SQL condition that a row was written since then; None if all must be read."""
    span = now.xmax - seen_before
    if not 0 <= span < _MAX_XID_AGE:
        return None
    age = f"({now.xmax % _XID_RANGE} - xmin::text::int8 + {_XID_RANGE}) % {_XID_RANGE}"
    return f"(({age}) <= {span})"


def _fetch_number(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
