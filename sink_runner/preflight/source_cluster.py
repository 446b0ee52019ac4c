"""Detect that a source is on another cluster, whose log positions cannot be compared.

A position has a meaning within one cluster only. After a logical migration or a blue-green switch
the new positions are smaller than the stored ones, and every event would be dropped as older. So
the system identifier, the timeline and the end of the log are stored for each mapping, with the
last position of each partition:

- another system identifier: positions can't be compared;
- a log that is shorter than before: the cluster was restored from a backup, or a standby was
  promoted that lacked the end of the log;
- only another timeline: a standby was promoted that had all of the log; positions continue.

Events of the previous log must be applied before its positions are deleted (`sink-runner recover`).
The mapping stops at the first event whose position is smaller than that of its predecessor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import structlog
from psycopg.types.json import Jsonb

from ..config.dsn import Dsn
from ..errors import FatalError, RetriableError
from ..model.envelope import Decoded
from ..model.findings import Fault
from ..model.message import Message
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from ..transform.incoming import position_of
from .subject import Subject

_MAY_READ = """
SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace
  AND proname IN ('pg_control_system', 'pg_control_checkpoint')
"""
# A standby has no position of its own, and follows the primary by some distance.
_PRIMARY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8
"""
_STANDBY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       (SELECT timeline_id::int8 FROM pg_control_checkpoint()), NULL::int8
"""
_EXISTS = "SELECT to_regclass('sink.source_cluster') IS NOT NULL"
_STORED = """
SELECT system_identifier, timeline, position FROM sink.source_cluster WHERE mapping = %s
"""
_POSITIONS = "SELECT positions FROM sink.source_cluster WHERE mapping = %s"
_STORE = """
INSERT INTO sink.source_cluster AS c (mapping, system_identifier, timeline, position, positions)
VALUES (%s, %s, %s, coalesce(%s, 0), %s)
ON CONFLICT (mapping) DO UPDATE SET timeline = excluded.timeline,
  position = greatest(c.position, excluded.position),
  positions = c.positions || excluded.positions, seen_at = now()
WHERE c.system_identifier = excluded.system_identifier
"""
_APPLICATION = "sink-runner cluster"


class Cluster(NamedTuple):
    """A cluster, and the end of its log; None from a standby."""

    identifier: str
    timeline: int
    position: int | None


def read_cluster(connection: Connection) -> Cluster:
    """Return the cluster of the connection."""
    standby = connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    row = connection.execute((_STANDBY if standby else _PRIMARY).encode()).fetchone()
    assert row is not None
    return Cluster(*row)


def stored_cluster(connection: Connection, mapping: str) -> Cluster | None:
    """Return the cluster of the mapping's stored positions; None where none is stored."""
    if connection.execute(_EXISTS).fetchone() != (True,):
        return None
    row = connection.execute(_STORED, (mapping,)).fetchone()
    return None if row is None else Cluster(*row)


def store_cluster(
    connection: Connection, mapping: str, cluster: Cluster, positions: Mapping[int, int]
) -> None:
    """Store the cluster of the mapping's positions, and the last one of each partition."""
    connection.execute(_STORE, (mapping, *cluster, Jsonb(positions)))


def cluster_fault(
    mapping: str, database: str, stored: Cluster | None, current: Cluster
) -> Fault | None:
    """Return why stored positions can't be compared with new ones; None where they can."""
    if stored is None:
        return None
    remedy = (
        "let the runner apply the events of the old log and stop it, then run "
        f"`sink-runner recover {database}` and `sink-runner batch {mapping} --full` "
        "(docs/guide/disaster-recovery.md)"
    )
    if stored.identifier != current.identifier:
        return Fault(
            f"database {database} is on cluster {current.identifier}, and the positions of mapping "
            f"{mapping!r} are of cluster {stored.identifier}: new events would seem older than "
            "those that were applied",
            "the same cluster, or no stored positions",
            remedy,
            refused=False,
            refuses_batch=True,
        )
    if current.position is not None and current.position < (stored.position or 0):
        return Fault(
            f"the log of database {database} ends at {current.position} and was at "
            f"{stored.position}: the cluster was restored, or a standby was promoted that lacked "
            "its end",
            "a log that continues",
            remedy,
            refused=False,
            refuses_batch=True,
        )
    return None


def check_cluster(subject: Subject) -> Iterable[Fault]:
    """A source on another cluster than that of the stored positions."""
    if not subject.mapping.streaming:
        return
    if subject.reading.execute(_MAY_READ).fetchone() != (True,):
        role = subject.reading.info.user
        yield Fault(
            f"role {role} may not read which cluster database {subject.source.table.database} is "
            "on, so a change of the cluster would go unnoticed",
            "EXECUTE on pg_control_system and pg_control_checkpoint",
            f"GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO {role}",
        )
        return
    stored = stored_cluster(subject.writing, subject.name)
    current = read_cluster(subject.reading)
    if fault := cluster_fault(subject.name, subject.source.table.database, stored, current):
        yield fault


class ClusterWatch:
    """Detects while a mapping runs that its source is on another cluster."""

    def __init__(
        self,
        mapping: str,
        database: str,
        *,
        source: Dsn,
        target: Dsn,
    ) -> None:
        """`source` and `target` are connection strings of the reader and of the writer."""
        self._mapping = mapping
        self._database = database
        self._source = source
        self._target = target
        self._positions: dict[int, int] | None = None
        """The last position of each partition; None until the stored ones were read."""
        self._suspect = False
        """Positions became smaller, and the cluster did not answer since."""
        self._log = structlog.get_logger().bind(mapping=mapping)

    def check(self) -> Fault | None:
        """Read the cluster, and store it where its positions can be compared with the stored ones.

        Raises RetriableError where a database does not answer.
        """
        with classified_errors():
            with connect(self._source, _APPLICATION) as source:
                current = read_cluster(source)
            with connect(self._target, _APPLICATION) as target, target.transaction():
                stored = stored_cluster(target, self._mapping)
                fault = cluster_fault(self._mapping, self._database, stored, current)
                if fault is None:
                    store_cluster(target, self._mapping, current, self._positions or {})
        return fault

    def maintain(self) -> None:
        """Check the cluster regularly; a source that does not answer does not stop the mapping."""
        with suppress(RetriableError):
            if fault := self.check():
                self._log.warning("source_cluster_changed", problem=fault.problem)

    def observe(self, events: Iterable[tuple[Message, Decoded]]) -> None:
        """Check the cluster if one of these events has a smaller position than its predecessor.

        That happens after a restart of capture, too, which repeats events. Raises FatalError where
        it is another cluster, RetriableError where a database does not answer.
        """
        self._suspect = self._goes_back(events) or self._suspect
        if not self._suspect:
            return
        if fault := self.check():
            raise FatalError(f"{fault.problem}; expected {fault.expected}: {fault.remedy}")
        self._suspect = False

    def close(self) -> None:
        """Do nothing: no session stays open between two checks."""

    def _goes_back(self, events: Iterable[tuple[Message, Decoded]]) -> bool:
        """Whether an event is older than the last one of its partition, in the order of commits."""
        if self._positions is None:
            self._positions = self._stored_positions()
        known, back = self._positions, False
        for message, event in events:
            if (position := position_of(event)) is None:
                continue
            back = back or position[0] < known.get(message.partition, 0)
            known[message.partition] = position[0]
        return back

    def _stored_positions(self) -> dict[int, int]:
        with classified_errors(), connect(self._target, _APPLICATION) as target:
            row = target.execute(_POSITIONS, (self._mapping,)).fetchone()
        return {} if row is None else {int(at): position for at, position in row[0].items()}
