"""Which cluster a source's log positions belong to, and whether they can still be compared.

A position means something within one cluster only.  After a logical migration or a blue-green
switch the new positions are smaller than the remembered ones, and every event would be dropped as
older.  So the system identifier, the timeline and how far the log was are kept for each mapping,
with the last position of each partition:

- another system identifier: positions can't be compared;
- a log that is shorter than it was: the cluster was restored from a backup, or a standby was
  promoted that lacked the end of the log;
- another timeline alone: a standby was promoted that had all of the log; positions go on.

Events of the old log may still be applied, and have to be before the old positions are forgotten
(`sink-runner recover`).  The mapping stops at the first event that lies before its predecessor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import psycopg
import structlog
from psycopg.types.json import Jsonb

from ..config.dsn import Dsn
from ..errors import FatalError, RetriableError
from ..model.envelope import Decoded
from ..model.findings import Fault
from ..postgres.error_classes import classify_error
from ..postgres.session import connect
from ..transform.incoming import position_of
from .subject import Subject

Connection = psycopg.Connection[Any]

_MAY_ASK = """
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
_THERE = "SELECT to_regclass('sink.source_cluster') IS NOT NULL"
_KEPT = """
SELECT system_identifier, timeline, position FROM sink.source_cluster WHERE mapping = %s
"""
_POSITIONS = "SELECT positions FROM sink.source_cluster WHERE mapping = %s"
_KEEP = """
INSERT INTO sink.source_cluster AS c (mapping, system_identifier, timeline, position, positions)
VALUES (%s, %s, %s, coalesce(%s, 0), %s)
ON CONFLICT (mapping) DO UPDATE SET timeline = excluded.timeline,
  position = greatest(c.position, excluded.position),
  positions = c.positions || excluded.positions, seen_at = now()
WHERE c.system_identifier = excluded.system_identifier
"""
_APPLICATION = "sink-runner cluster"


class Cluster(NamedTuple):
    """A cluster, and how far its log was; None where a standby was asked."""

    identifier: str
    timeline: int
    position: int | None


class Delivered(Protocol):
    """A record, as far as its place is concerned."""

    @property
    def partition(self) -> int: ...


def read_cluster(connection: Connection) -> Cluster:
    """Ask the cluster that `connection` is open to."""
    standby = connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    row = connection.execute((_STANDBY if standby else _PRIMARY).encode()).fetchone()
    assert row is not None
    return Cluster(*row)


def kept_cluster(connection: Connection, mapping: str) -> Cluster | None:
    """The cluster that the mapping's positions are of; None where none was kept."""
    if connection.execute(_THERE).fetchone() != (True,):
        return None
    row = connection.execute(_KEPT, (mapping,)).fetchone()
    return None if row is None else Cluster(*row)


def keep_cluster(
    connection: Connection, mapping: str, cluster: Cluster, positions: Mapping[int, int]
) -> None:
    """Remember the cluster that the mapping's positions are of, and the last of each partition."""
    connection.execute(_KEEP, (mapping, *cluster, Jsonb(positions)))


def cluster_fault(mapping: str, database: str, kept: Cluster | None, now: Cluster) -> Fault | None:
    """Say why remembered positions can't be compared with new ones; None where they can."""
    if kept is None:
        return None
    remedy = (
        "let the runner apply the events of the old log and stop it, then run "
        f"`sink-runner recover {database}` and `sink-runner batch {mapping} --full` "
        "(docs/guide/disaster-recovery.md)"
    )
    if kept.identifier != now.identifier:
        return Fault(
            f"database {database} is on cluster {now.identifier}, and the positions of mapping "
            f"{mapping!r} are of cluster {kept.identifier}: new events would seem older than "
            "all that was applied",
            "the same cluster, or positions that were forgotten",
            remedy,
            refused=False,
            refuses_batch=True,
        )
    if now.position is not None and now.position < (kept.position or 0):
        return Fault(
            f"the log of database {database} ends at {now.position} and was at {kept.position}: "
            "the cluster was restored, or a standby was promoted that lacked its end",
            "a log that goes on",
            remedy,
            refused=False,
            refuses_batch=True,
        )
    return None


def check_cluster(subject: Subject) -> Iterable[Fault]:
    """The check of the list: the source is the cluster that the positions are of."""
    if not subject.mapping.streaming:
        return
    if subject.reading.execute(_MAY_ASK).fetchone() != (True,):
        role = subject.reading.info.user
        yield Fault(
            f"role {role} may not ask which cluster database {subject.source.table.database} is "
            "on, so a change of the cluster would go unnoticed",
            "EXECUTE on pg_control_system and pg_control_checkpoint",
            f"GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO {role}",
        )
        return
    kept = kept_cluster(subject.writing, subject.name)
    now = read_cluster(subject.reading)
    if fault := cluster_fault(subject.name, subject.source.table.database, kept, now):
        yield fault


class ClusterWatch:
    """Notices under a running mapping that its source has become another cluster."""

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
        """The last position of each partition; None until those of before were read."""
        self._suspect = False
        """Positions went back, and the cluster has not answered since."""
        self._log = structlog.get_logger().bind(mapping=mapping)

    def look(self) -> Fault | None:
        """Ask which cluster it is, and remember it where positions can still be compared.

        Raises RetriableError where a database does not answer.
        """
        try:
            with connect(self._source, _APPLICATION) as source:
                now = read_cluster(source)
            with connect(self._target, _APPLICATION) as target, target.transaction():
                kept = kept_cluster(target, self._mapping)
                fault = cluster_fault(self._mapping, self._database, kept, now)
                if fault is None:
                    keep_cluster(target, self._mapping, now, self._positions or {})
        except psycopg.Error as error:
            raise classify_error(error) from error
        return fault

    def maintain(self) -> None:
        """Look now and then; a source that is away is no reason to stop."""
        with suppress(RetriableError):
            if fault := self.look():
                self._log.warning("source_cluster_changed", problem=fault.problem)

    def observe(self, events: Iterable[tuple[Delivered, Decoded]]) -> None:
        """Look at the cluster if one of these events lies before its predecessor.

        A restart of capture does that, too: it sends again what it has not noted as sent.  Raises
        FatalError where it is another cluster, RetriableError where it can't be asked.
        """
        self._suspect = self._goes_back(events) or self._suspect
        if not self._suspect:
            return
        if fault := self.look():
            raise FatalError(f"{fault.problem}; expected {fault.expected}: {fault.remedy}")
        self._suspect = False

    def close(self) -> None:
        """It holds no session between two questions."""

    def _goes_back(self, events: Iterable[tuple[Delivered, Decoded]]) -> bool:
        """Whether an event lies before the last one of its partition, in the order of commits."""
        if self._positions is None:
            self._positions = self._kept_positions()
        known, back = self._positions, False
        for message, event in events:
            if (position := position_of(event)) is None:
                continue
            back = back or position[0] < known.get(message.partition, 0)
            known[message.partition] = position[0]
        return back

    def _kept_positions(self) -> dict[int, int]:
        try:
            with connect(self._target, _APPLICATION) as target:
                row = target.execute(_POSITIONS, (self._mapping,)).fetchone()
        except psycopg.Error as error:
            raise classify_error(error) from error
        return {} if row is None else {int(at): position for at, position in row[0].items()}
