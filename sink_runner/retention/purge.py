"""Delete rows of the runner's own tables whose retention is over and that are not needed.

Each table has one predicate, for counting and for deleting.  It never matches open and deferred
dead letters, open conflicts, runs that can be resumed, and rows that a later run reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ..config import Config
from ..dlq.outbox import UNPUBLISHED
from ..errors import SinkError
from ..loading import discovery
from ..model.timetable import Cron
from ..postgres.migrations import add_audit_partitions
from ..postgres.session import Connection
from ..schedule.plans import plans_of

ROWS_PER_TRANSACTION = 5_000
_LOCK = 0x50_55_52_47  # any constant: one purge at a time in a database
_TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s)"
_COUNT = "SELECT count(*) FROM sink.{table} t WHERE {predicate}"
_DELETE = (
    "DELETE FROM sink.{table} WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM sink.{table} t "
    f"WHERE {{predicate}} LIMIT {ROWS_PER_TRANSACTION} FOR UPDATE SKIP LOCKED))"
)

_SETTLED = "t.status NOT IN ('OPEN', 'PARKED') AND t.settled_at < now() - %(age)s"
# These runs are kept: the last one of each mode, which the scheduler reads; the last finished one,
# from which the next continues; and the last hundred of a cluster, for their log positions.
_OLD_BATCH_RUNS = """t.outcome IN ('done', 'abandoned')
AND coalesce(t.finished, t.progressed) < now() - %(age)s
AND t.run NOT IN (
  SELECT max(run) FROM sink.batch_run WHERE mode IN ('full', 'changed') GROUP BY mapping, mode
  UNION ALL
  SELECT max(run) FROM sink.batch_run WHERE mode IN ('full', 'changed') AND outcome = 'done'
  GROUP BY mapping
  UNION ALL
  SELECT run FROM (SELECT run, row_number() OVER (PARTITION BY cluster ORDER BY run DESC) AS place
    FROM sink.batch_run) r WHERE place <= 100)"""
_OLD_RECONCILE_RUNS = "t.outcome NOT IN ('running', 'interrupted') AND t.finished < now() - %(age)s"
_OLD_CONFLICTS = "t.resolved_at < now() AT TIME ZONE 'UTC' - %(age)s"
_TOMBSTONES = "t.deleted_at < now() - %(age)s"
# The newest request of each kind is kept: runners compare its number with the one they followed.
_OLD_CONTROL_REQUESTS = """coalesce(t.finished_at, t.requested_at) < now() - %(age)s
AND t.request NOT IN (SELECT max(request) FROM sink.control_request GROUP BY mapping, kind)"""
_EXPIRED_REQUESTS = "t.claimed_at < now() - %(age)s"

_SCHEDULES = "SELECT mapping, mode, cron, done_until FROM sink.schedule"
_DELETE_SCHEDULE = """
DELETE FROM sink.schedule
WHERE mapping = %s AND mode = %s AND cron = %s AND done_until = %s
"""
# Only whole months are deleted: their partitions, and their rows in the default partition.
_FIRST_KEPT = "date_trunc('month', now() AT TIME ZONE 'UTC' - %(age)s)"
_OLD_AUDIT_RECORDS = f't."timestamp" < {_FIRST_KEPT}'
_OLD_MONTHS = f"""
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sink.audit_log'::regclass AND c.relname ~ '^audit_log_\\d{{4}}_\\d\\d$'
  AND to_date(right(c.relname, 7), 'YYYY_MM') < {_FIRST_KEPT} ORDER BY 1
"""


class PurgeBusyError(SinkError):
    """Another process purges the same database."""


class Count(NamedTuple):
    """The number of rows to delete from a table, or deleted."""

    table: str
    rows: int


@dataclass(frozen=True, slots=True)
class Rule:
    """The predicate of the rows of a table, named `t`, whose retention is over."""

    table: str
    predicate: str
    age: timedelta
    append_only: bool = False
    """The runner's role has DELETE on the table only within the transaction of a purge."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"age": self.age}

    def count(self, connection: Connection) -> int:
        query = _COUNT.format(table=self.table, predicate=self.predicate)
        ((rows,),) = connection.execute(query.encode(), self.parameters).fetchall()
        return int(rows)

    def delete(self, connection: Connection) -> int:
        """Delete in small transactions; rows that another session has locked stay."""
        query = _DELETE.format(table=self.table, predicate=self.predicate).encode()
        deleted = 0
        while found := self._delete(connection, query):
            deleted += found
        return deleted

    def _delete(self, connection: Connection, query: bytes) -> int:
        with connection.transaction():
            if self.append_only:
                connection.execute(f"GRANT DELETE ON sink.{self.table} TO CURRENT_USER".encode())
            deleted = connection.execute(query, self.parameters).rowcount
            if self.append_only:
                connection.execute(f"REVOKE DELETE ON sink.{self.table} FROM CURRENT_USER".encode())
        return deleted


class Purge:
    """The rules of one database, from the settings."""

    def __init__(
        self, config: Config, database: str, plugins: Collection[discovery.Plugin]
    ) -> None:
        """`plugins` are those that are on: the progress of their schedules is kept."""
        days = config.retention
        settled = _SETTLED
        if config.dead_letters.publish_seconds:
            settled += f" AND NOT ({UNPUBLISHED})"
        rules = [
            Rule("dead_letter", settled, timedelta(days=days.dead_letters_days)),
            Rule("batch_run", _OLD_BATCH_RUNS, timedelta(days=days.runs_days)),
            Rule("reconcile_run", _OLD_RECONCILE_RUNS, timedelta(days=days.runs_days)),
            Rule("conflict", _OLD_CONFLICTS, timedelta(days=days.conflicts_days), append_only=True),
            Rule("control_request", _OLD_CONTROL_REQUESTS, timedelta(days=days.audit_days)),
        ]
        self._rules = [rule for rule in rules if rule.age]
        self._rules.append(
            Rule("row_version", _TOMBSTONES, timedelta(days=config.remember_deletes_days))
        )
        if config.api is not None and config.api.database == database:
            hours = timedelta(hours=config.api.remember_hours)
            self._rules.append(Rule("api_request", _EXPIRED_REQUESTS, hours))
        self._schedules = timedelta(days=days.schedules_days)
        self._audit = Rule("audit_log", _OLD_AUDIT_RECORDS, timedelta(days=days.audit_days))
        mappings = {one.name: one.mapping for one in plugins if one.mapping is not None}
        self._declared = {
            (plan.mapping, plan.mode, plan.cron.expression)
            for plan in plans_of(mappings, config.schedule)
        }

    def count(self, connection: Connection) -> Iterator[Count]:
        """Yield how many rows `run` would delete."""
        for rule in self._rules:
            yield Count(rule.table, rule.count(connection))
        if self._schedules:
            yield Count("schedule", len(self._old_schedules(connection)))
        if self._audit.age:
            yield Count("audit_log", self._audit.count(connection))

    def run(self, connection: Connection) -> Iterator[Count]:
        """Delete table by table; yield the rows deleted from each.

        Also adds the partitions of the audit log.  Raises PurgeBusyError while another process
        purges the same database.
        """
        if connection.execute(_TRY_LOCK, (_LOCK,)).fetchone() != (True,):
            raise PurgeBusyError(
                f"another process is purging database {connection.info.dbname!r}: try again later"
            )
        try:
            for rule in self._rules:
                yield Count(rule.table, rule.delete(connection))
            if self._schedules:
                yield Count("schedule", self._delete_schedules(connection))
            add_audit_partitions(connection)
            if self._audit.age:
                yield Count("audit_log", self._drop_months(connection))
        finally:
            if not connection.closed:
                connection.execute(_UNLOCK, (_LOCK,))

    def _old_schedules(self, connection: Connection) -> list[tuple[str, str, str, datetime]]:
        """Return undeclared schedules whose first missed time is older than the retention."""
        oldest = datetime.now(UTC) - self._schedules
        return [
            row
            for row in connection.execute(_SCHEDULES).fetchall()
            if row[:3] not in self._declared and Cron(row[2]).after(row[3]) < oldest
        ]

    def _delete_schedules(self, connection: Connection) -> int:
        return sum(
            connection.execute(_DELETE_SCHEDULE, row).rowcount
            for row in self._old_schedules(connection)
        )

    def _drop_months(self, connection: Connection) -> int:
        """Drop the partitions of old months; fail after waiting 3 s for a lock.

        While this session waits for its lock, writers queue behind it.
        """
        rows = 0
        for (name,) in connection.execute(_OLD_MONTHS.encode(), self._audit.parameters).fetchall():
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '3s'")
                ((found,),) = connection.execute(f"SELECT count(*) FROM sink.{name}".encode())
                connection.execute(f"DROP TABLE sink.{name}".encode())
            rows += found
        return rows
