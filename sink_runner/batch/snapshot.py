"""Take the snapshot that a batch run reads, with its position in the log.

A row carries the number of the transaction that wrote it, ``xmin``.  What the snapshot of an
earlier run did not see was written by a transaction from that snapshot's own xmin on; so the
rows with such a number are all that changed, however late they were committed.  Some rows are
read twice that way, which is harmless.
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

_ROUND = 2**32  # transaction numbers wrap around after this many
_RECENT = 2**31  # of two numbers at most this far apart, it is certain which is older
_PAUSE = 0.05

_SETTINGS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)
# First the place, then the number of this session's transaction: every transaction that wrote
# before the place has a smaller one.
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
    """A position in the log, and a transaction number.

    A snapshot sees all that was written up to the position if every transaction with a smaller
    number has ended.
    """

    position: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one run reads."""

    xmin: int
    """The oldest transaction that it may lack, as a 64-bit number."""
    xmax: int
    at: datetime
    """UTC."""
    cluster: str
    """System identifier and timeline of the server that the numbers belong to."""
    sampled: Place
    """The place when the run began, which later runs may use."""
    place: Place
    """The snapshot sees every change up to this position."""

    @property
    def settled(self) -> bool:
        """Whether all transactions that were running when the run began have ended."""
        return self.place == self.sampled

    @property
    def seen_before(self) -> int:
        """The next run need not read rows of transactions with smaller numbers."""
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
    """Begin a transaction that sees one moment of the source.

    Waits up to `settle_seconds` for the running transactions to end.  If one does not, the latest
    of the `earlier` places is taken before which all have ended.
    """
    sampled = Place(_number(connection, _PLACE), _number(connection, _NEXT))
    deadline = time.monotonic() + settle_seconds
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
    """Return the SQL condition that a row was written since then; None where all must be read."""
    span = now.xmax - seen_before
    if not 0 <= span < _RECENT:
        return None
    age = f"({now.xmax % _ROUND} - xmin::text::int8 + {_ROUND}) % {_ROUND}"
    return f"(({age}) <= {span})"


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
