"""The progress of the schedules, each in the database that its mapping writes to.

One scheduler at a time has the word in a database: it holds an advisory lock there.  Another
waits, and takes over when the first is gone.
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
from .plans import Known, Outcome, Plan, Progress

Connection = psycopg.Connection[Any]

_APPLICATION = "sink-runner schedule"
_OUTCOMES = {"done": "ok"}
_LOCK = 0x5C_4E_D0  # any constant of ours: one scheduler for each database
_COLUMNS = "done_until, due, failures, started_at, ended_at, outcome"
_WHICH = "mapping = %(mapping)s AND mode = %(mode)s AND cron = %(cron)s"
_SELECT = f"SELECT {_COLUMNS} FROM sink.schedule WHERE {_WHICH}"
_INSERT = """
INSERT INTO sink.schedule (mapping, mode, cron, done_until)
VALUES (%(mapping)s, %(mode)s, %(cron)s, %(now)s)
"""
_UPDATE = f"""
UPDATE sink.schedule
   SET ({_COLUMNS})
     = (%(done_until)s, %(due)s, %(failures)s, %(started_at)s, %(ended_at)s, %(outcome)s)
 WHERE {_WHICH}
"""
# The batch itself keeps account, whoever started it: this scheduler, Airflow or a person.
_LAST = """
SELECT started, outcome FROM sink.batch_run WHERE mapping = %(mapping)s AND mode = %(mode)s
ORDER BY run DESC LIMIT 1
"""


class PostgresLedger:
    """Keeps a session with every target database, as long as that answers."""

    def __init__(self, dsns: Mapping[str, Dsn]) -> None:
        self._dsns = dsns
        self._sessions: dict[str, Connection] = {}
        self._ours: set[str] = set()
        self._told: dict[str, str] = {}

    def read(self, plans: Sequence[Plan], now: datetime) -> dict[Plan, Progress]:
        """The progress of the plans whose database answers and has no other scheduler."""
        found: dict[Plan, Progress] = {}
        for database, its in _by_database(plans).items():
            try:
                session = self._session(database)
                if self._may_run(database, session):
                    found |= {plan: _read(session, plan, now) for plan in its}
            except (psycopg.Error, AccessError) as fault:
                self._lose(database, fault)
        return found

    def write(self, plan: Plan, progress: Progress) -> bool:
        """Keep the progress; False if the database does not answer."""
        values = {name: getattr(progress, name) for name in _COLUMNS.split(", ")}
        try:
            self._session(plan.database).execute(_UPDATE, {**_key(plan), **values})
        except (psycopg.Error, AccessError) as fault:
            self._lose(plan.database, fault)
            return False
        return True

    def close(self) -> None:
        """End the sessions, and with them the word."""
        for session in self._sessions.values():
            session.close()

    def _session(self, database: str) -> Connection:
        if database not in self._sessions:
            session = connect(find_database(self._dsns, database), _APPLICATION)
            self._sessions[database] = session
            migrate(session)
        return self._sessions[database]

    def _may_run(self, database: str, session: Connection) -> bool:
        if database not in self._ours:
            got = session.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
            if got is not None and got[0]:
                self._ours.add(database)
                self._told.pop(database, None)
            else:
                self._tell(database, "another scheduler is at work there")
        return database in self._ours

    def _lose(self, database: str, fault: psycopg.Error | AccessError) -> None:
        """The session is of no use any more, and the lock went with it."""
        if session := self._sessions.pop(database, None):
            session.close()
        self._ours.discard(database)
        judged = classify_error(fault)
        if not isinstance(judged, AccessError | RetriableError):
            raise judged from fault
        self._tell(database, str(judged))

    def _tell(self, database: str, reason: str) -> None:
        """Once, however often it is found so."""
        if self._told.get(database) != reason:
            self._told[database] = reason
            structlog.get_logger().warning("schedule_waiting", database=database, reason=reason)


def look_up(plans: Iterable[Plan], dsns: Mapping[str, Dsn]) -> dict[Plan, Known]:
    """What the databases that answer know of the plans; nothing is changed there."""
    found: dict[Plan, Known] = {}
    for database, its in _by_database(plans).items():
        with (
            suppress(psycopg.OperationalError),
            connect(find_database(dsns, database), _APPLICATION) as session,
        ):
            found |= {plan: _known(session, plan) for plan in its}
    return found


def _known(session: Connection, plan: Plan) -> Known:
    progress, started, outcome = None, None, ""
    with suppress(errors.UndefinedTable):
        progress = _find(session, plan)
    if progress is not None and progress.started_at and progress.outcome:
        started, outcome = progress.started_at, str(progress.outcome)
    with suppress(errors.UndefinedTable):
        last = session.execute(_LAST, _key(plan)).fetchone()
        if last is not None and (started is None or last[0] > started):
            started, outcome = last[0], _OUTCOMES.get(last[1], last[1])
    return Known(progress=progress, started_at=started, outcome=outcome)


def _by_database(plans: Iterable[Plan]) -> dict[str, list[Plan]]:
    found: dict[str, list[Plan]] = defaultdict(list)
    for plan in plans:
        found[plan.database].append(plan)
    return found


def _read(session: Connection, plan: Plan, now: datetime) -> Progress:
    found = _find(session, plan)
    if found is None:
        session.execute(_INSERT, {**_key(plan), "now": now})
        found = Progress(done_until=now)
    return found


def _find(session: Connection, plan: Plan) -> Progress | None:
    with session.cursor(row_factory=kwargs_row(_progress)) as cursor:
        return cursor.execute(_SELECT, _key(plan)).fetchone()


def _progress(*, outcome: str | None, **columns: Any) -> Progress:
    return Progress(outcome=Outcome(outcome) if outcome else None, **columns)


def _key(plan: Plan) -> dict[str, str]:
    return {"mapping": plan.mapping, "mode": plan.mode, "cron": plan.cron.expression}
