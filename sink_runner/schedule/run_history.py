"""Store the progress of each schedule in the target database of its mapping.

Only the scheduler that holds an advisory lock in a database runs its schedules.  A second one
waits, and takes over when the first ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg
import structlog
from psycopg import errors
from psycopg.rows import kwargs_row

from ..config.database import find_database
from ..config.dsn import Dsn
from ..errors import AccessError, RetriableError
from ..postgres.error_classes import classify_error
from ..postgres.migrations import migrate
from ..postgres.session import connect
from .plans import Outcome, Plan, PlanState, Progress

Connection = psycopg.Connection[Any]

_APPLICATION = "sink-runner schedule"
_OUTCOMES = {"done": "ok"}
_LOCK = 0x5C_4E_D0  # keeps the lock apart from other applications'
_COLUMNS = "done_until, due, failures, started_at, ended_at, outcome"
_PAUSED = "SELECT mapping FROM sink.mapping_control WHERE desired = 'paused'"
_IS_PLAN = "mapping = %(mapping)s AND mode = %(mode)s AND cron = %(cron)s"
_SELECT = f"SELECT {_COLUMNS} FROM sink.schedule WHERE {_IS_PLAN}"
_INSERT = """
INSERT INTO sink.schedule (mapping, mode, cron, done_until)
VALUES (%(mapping)s, %(mode)s, %(cron)s, %(now)s)
"""
_UPDATE = f"""
UPDATE sink.schedule
   SET ({_COLUMNS})
     = (%(done_until)s, %(due)s, %(failures)s, %(started_at)s, %(ended_at)s, %(outcome)s)
 WHERE {_IS_PLAN}
"""
# Every run is stored there, whether this scheduler, Airflow or a person started it.
_LAST_BATCH = """
SELECT started, outcome FROM sink.batch_run WHERE mapping = %(mapping)s AND mode = %(mode)s
ORDER BY run DESC LIMIT 1
"""
_LAST_RECONCILIATION = """
SELECT started, outcome FROM sink.reconcile_run
WHERE mapping = %(mapping)s
  AND mode = CASE %(mode)s WHEN 'reconcile-full' THEN 'full' ELSE 'changed' END
ORDER BY run DESC LIMIT 1
"""


class PostgresRunHistory:
    """Stores the progress; keeps a session with every target database that answers."""

    def __init__(self, dsns: Mapping[str, Dsn]) -> None:
        self._dsns = dsns
        self._sessions: dict[str, Connection] = {}
        self._locked: set[str] = set()
        self._warned: dict[str, str] = {}

    def read(self, plans: Sequence[Plan], now: datetime) -> dict[Plan, Progress]:
        """Return the progress of the plans whose database answers and has no other scheduler.

        Those of paused mappings are left out: after the pause, one run catches up.
        """
        found: dict[Plan, Progress] = {}
        for database, local in _by_database(plans).items():
            try:
                session = self._session(database)
                if self._has_lock(database, session):
                    paused = {name for (name,) in session.execute(_PAUSED)}
                    found |= {
                        plan: _read_or_insert(session, plan, now)
                        for plan in local
                        if plan.mapping not in paused
                    }
            except (psycopg.Error, AccessError) as fault:
                self._disconnect(database, fault)
        return found

    def write(self, plan: Plan, progress: Progress) -> bool:
        """Store the progress; return False if the database does not answer."""
        values = {name: getattr(progress, name) for name in _COLUMNS.split(", ")}
        try:
            self._session(plan.database).execute(_UPDATE, {**_key(plan), **values})
        except (psycopg.Error, AccessError) as fault:
            self._disconnect(plan.database, fault)
            return False
        return True

    def close(self) -> None:
        """End the sessions, and release their locks."""
        for session in self._sessions.values():
            session.close()

    def _session(self, database: str) -> Connection:
        if database not in self._sessions:
            session = connect(find_database(self._dsns, database), _APPLICATION)
            self._sessions[database] = session
            migrate(session)
        return self._sessions[database]

    def _has_lock(self, database: str, session: Connection) -> bool:
        if database not in self._locked:
            got = session.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
            if got is not None and got[0]:
                self._locked.add(database)
                self._warned.pop(database, None)
            else:
                self._warn(database, "another scheduler holds the lock of this database")
        return database in self._locked

    def _disconnect(self, database: str, fault: psycopg.Error | AccessError) -> None:
        """Close the session, which releases the lock."""
        if session := self._sessions.pop(database, None):
            session.close()
        self._locked.discard(database)
        error = classify_error(fault)
        if not isinstance(error, AccessError | RetriableError):
            raise error from fault
        self._warn(database, str(error))

    def _warn(self, database: str, reason: str) -> None:
        """Log a reason once for each database until it changes."""
        if self._warned.get(database) != reason:
            self._warned[database] = reason
            structlog.get_logger().warning("schedule_waiting", database=database, reason=reason)


def read_states(plans: Iterable[Plan], dsns: Mapping[str, Dsn]) -> dict[Plan, PlanState]:
    """Return the stored states of the plans, from the databases that answer; change nothing."""
    found: dict[Plan, PlanState] = {}
    for database, local in _by_database(plans).items():
        with (
            suppress(psycopg.OperationalError),
            connect(find_database(dsns, database), _APPLICATION) as session,
        ):
            found |= {plan: _read_state(session, plan) for plan in local}
    return found


def _read_state(session: Connection, plan: Plan) -> PlanState:
    progress, started, outcome = None, None, ""
    with suppress(errors.UndefinedTable):
        progress = _find(session, plan)
    if progress is not None and progress.started_at and progress.outcome:
        started, outcome = progress.started_at, str(progress.outcome)
    with suppress(errors.UndefinedTable):
        query = _LAST_RECONCILIATION if plan.reconciles else _LAST_BATCH
        last = session.execute(query, _key(plan)).fetchone()
        if last is not None and (started is None or last[0] > started):
            started, outcome = last[0], _OUTCOMES.get(last[1], last[1])
    return PlanState(progress=progress, started_at=started, outcome=outcome)


def _by_database(plans: Iterable[Plan]) -> dict[str, list[Plan]]:
    found: dict[str, list[Plan]] = defaultdict(list)
    for plan in plans:
        found[plan.database].append(plan)
    return found


def _read_or_insert(session: Connection, plan: Plan, now: datetime) -> Progress:
    found = _find(session, plan)
    if found is None:
        session.execute(_INSERT, {**_key(plan), "now": now})
        found = Progress(done_until=now)
    return found


def _find(session: Connection, plan: Plan) -> Progress | None:
    with session.cursor(row_factory=kwargs_row(_make_progress)) as cursor:
        return cursor.execute(_SELECT, _key(plan)).fetchone()


def _make_progress(*, outcome: str | None, **columns: Any) -> Progress:
    return Progress(outcome=Outcome(outcome) if outcome else None, **columns)


def _key(plan: Plan) -> dict[str, str]:
    return {"mapping": plan.mapping, "mode": plan.mode, "cron": plan.cron.expression}
