"""The checks of one database: its sessions, its server, and the slot that retains its log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

from ..model.findings import Fault
from ..postgres.catalog import quoted
from ..postgres.migrations import has_tables
from ..postgres.session import Connection
from .check_group import CheckGroup
from .database_subject import DatabaseSubject
from .deployment import Deployment
from .slot_checks import check_replication_limits, check_slot, check_slot_retention, check_wal_level

OLDEST_VERSION = 140000
_CLOCK_SECONDS = 5.0
SESSIONS_OF_A_MAPPING = 3
_IDENTITY = (
    "SELECT current_database(), oid::int8 FROM pg_database WHERE datname = current_database()"
)
_READ_ONLY = "SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery()"
_SETTING_OF = """
SELECT setdatabase <> 0, setrole <> 0 FROM pg_db_role_setting s, unnest(s.setconfig) line
WHERE split_part(line, '=', 1) = %s
  AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
ORDER BY setrole <> 0 DESC, setdatabase <> 0 DESC LIMIT 1
"""
_LIMIT = """
SELECT d.datconnlimit, current_setting('max_connections')::int FROM pg_database d
WHERE d.datname = current_database()
"""


def database_group(name: str, deployment: Deployment) -> CheckGroup:
    """Return the checks of a database."""
    subject = DatabaseSubject(name, deployment)
    return CheckGroup(
        name=f"database {name}",
        checks={check: partial(find, subject) for check, find in CHECKS.items()},
        start=f"start PostgreSQL, or correct the connection strings in [databases.{name}]",
        correct=f"correct [databases.{name}]",
        version=lambda: subject.version,
        close=subject.sessions.close,
    )


def check_writer_login(subject: DatabaseSubject) -> Iterable[Fault]:
    """Find why the role that writes has no usable session: login, TLS, a connection pooler."""
    assert subject.writing
    return ()


def check_reader_login(subject: DatabaseSubject) -> Iterable[Fault]:
    """Find the same of the role that reads."""
    assert subject.reading
    return ()


def check_same_database(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find that the connection strings of one database lead to two databases."""
    (wrote,), (read,) = (
        session.execute(_IDENTITY).fetchall() for session in (subject.writing, subject.reading)
    )
    if wrote != read:
        yield Fault(
            f"database {subject.name}: dsn leads to {wrote[0]} and reader_dsn to {read[0]}: "
            "lookups and batch runs would read other rows than events write",
            "one database, or a standby of it",
            f"correct reader_dsn in [databases.{subject.name}]",
        )


def check_server_version(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find a server that the runner's SQL does not fit."""
    if subject.writing.info.server_version < OLDEST_VERSION:
        yield Fault(
            f"database {subject.name} is served by {subject.version}",
            f"PostgreSQL {OLDEST_VERSION // 10000} or later",
            "upgrade the server with pg_upgrade",
        )


def check_read_only(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find that the role that writes can't: a standby, or a setting."""
    if not subject.is_target:
        return
    read_only, standby = subject.writing.execute(_READ_ONLY).fetchone() or (False, False)
    if not read_only:
        return
    remedy = (
        f"name the primary in dsn of [databases.{subject.name}], or add "
        "target_session_attrs=read-write"
        if standby
        else _reset(subject.writing, "default_transaction_read_only")
    )
    yield Fault(
        f"sessions of role {subject.writing.info.user} in database {subject.name} are read-only: "
        "nothing can be written",
        "a session that may write",
        remedy,
    )


def check_replication_role(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find a setting by which triggers and foreign keys of the target are not applied."""
    setting = "session_replication_role"
    if subject.is_target and subject.writing.execute(f"SHOW {setting}").fetchone() != ("origin",):
        yield Fault(
            f"{setting} of role {subject.writing.info.user} in database {subject.name} is not "
            "origin: triggers and foreign keys of the targets are not applied to what it writes",
            "origin",
            _reset(subject.writing, setting),
        )


def _reset(session: Connection, setting: str) -> str:
    """Return the statement that resets a setting where it is set: for role, database or both."""
    found = session.execute(_SETTING_OF, (setting,)).fetchone()
    database, role = quoted(session.info.dbname), quoted(session.info.user)
    match found:
        case (True, True):
            return f"ALTER ROLE {role} IN DATABASE {database} RESET {setting}"
        case (False, True):
            return f"ALTER ROLE {role} RESET {setting}"
        case (True, False):
            return f"ALTER DATABASE {database} RESET {setting}"
    return f"ALTER SYSTEM RESET {setting} and reload the server (SELECT pg_reload_conf())"


def check_connection_limit(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find too few connections for the mappings that run together."""
    limit, most = subject.writing.execute(_LIMIT).fetchone() or (-1, 0)
    needed = SESSIONS_OF_A_MAPPING * len(subject.deployment.mappings)
    problem = (
        "of the {} connections of database {}, {} mappings need about {}: some would wait until "
        "others end theirs"
    )
    names = (subject.name, len(subject.deployment.mappings), needed)
    database = quoted(subject.writing.info.dbname)
    if 0 <= limit < needed:
        yield Fault(
            problem.format(limit, *names),
            f"a limit of {needed} or more",
            f"ALTER DATABASE {database} CONNECTION LIMIT {2 * needed}",
        )
    if most < needed:
        yield Fault(
            problem.format(most, *names),
            f"max_connections of {needed} or more",
            f"ALTER SYSTEM SET max_connections = {2 * needed} and restart the server",
        )


def check_clock(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find clocks that differ: lag is wrong, and newest_wins lets the fast clock win."""
    before = read_clock()
    ((server,),) = subject.writing.execute("SELECT clock_timestamp()").fetchall()
    after = read_clock()
    apart = max((before - server).total_seconds(), (server - after).total_seconds())
    if apart > _CLOCK_SECONDS:
        yield Fault(
            f"the clock of database {subject.name} and that of this machine are {apart:.0f} "
            "seconds apart: lag and latency are wrong by as much, and where the newest row wins, "
            "the one of the fast clock does",
            f"less than {_CLOCK_SECONDS:g} seconds",
            "chronyc makestep on both machines; timedatectl set-ntp true keeps them together",
            refused=False,
        )


def read_clock() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def check_migrations(subject: DatabaseSubject) -> Iterable[Fault]:
    """Find tables of the runner that are of another version than this program."""
    if subject.is_target:
        has_tables(subject.writing)
    return ()


CHECKS: Mapping[str, Callable[[DatabaseSubject], Iterable[Fault]]] = {
    "writer_login": check_writer_login,
    "reader_login": check_reader_login,
    "same_database": check_same_database,
    "server_version": check_server_version,
    "read_only": check_read_only,
    "replication_role": check_replication_role,
    "connection_limit": check_connection_limit,
    "clock": check_clock,
    "migrations": check_migrations,
    "wal_level": check_wal_level,
    "slot": check_slot,
    "slot_retention": check_slot_retention,
    "replication_limits": check_replication_limits,
}
"""In the order of the report."""
