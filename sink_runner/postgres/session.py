"""Open sessions: their settings, and the replication origin that marks the runner's writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg import errors

from ..config.dsn import Dsn
from ..errors import ConfigError, FatalError

Connection = psycopg.Connection[Any]

_SECONDS, _LOCK_SECONDS = 300.0, 30.0
_CONTROL_LOCK = 0x51_4E_4B  # any constant: serializes changes of the runner's own tables
_MAX_SLOTS = 16
_MARK = "sink.session"
_POOL_ROUNDS = 5
_POOLER = (
    "a connection pooler gives statements of one session to several of the server's; connect to "
    "PostgreSQL itself, or set pool_mode = session in the pooler"
)

SETTINGS: Mapping[str, str] = {
    "default_transaction_isolation": "read committed",
    "search_path": "public",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "array_nulls": "on",
    "xmloption": "content",
    "lc_monetary": "C",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
}
"""The settings of every session, whatever the database or the role sets."""

_SET = """
SELECT pg_catalog.set_config(s.name, s.value, false)
FROM unnest(%s::text[], %s::text[]) AS s (name, value)
"""
_OPERATOR_SCHEMAS = """
SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ')
FROM pg_depend d JOIN pg_operator o ON o.oid = d.objid JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE d.classid = 'pg_operator'::regclass AND d.deptype = 'e'
  AND n.nspname NOT IN ('pg_catalog', 'public')
"""
_SHOW = "SELECT lower(name), setting FROM pg_catalog.pg_settings WHERE lower(name) = ANY (%s)"
_MARKED = "SELECT pg_catalog.current_setting(%s, true)"


def connect(dsn: Dsn | str, application: str, seconds: float | None = None) -> Connection:
    """Open a session in which values mean the same everywhere; each transaction is explicit.

    `seconds` bounds a statement, and half of them the wait for one lock: the two end with
    different errors.

    Every setting that changes how values are read, written or seen is set here and then verified:
    a database, a role or a pooler may bring another default.  They are set after the connection is
    made, since poolers refuse or drop the `options` of a connection string.  The search path ends
    with the schemas of the extensions' operators.  Raises ConfigError where a setting does not
    hold, or where a pooler shares sessions between its clients, and what `Dsn.open` raises.
    """
    limits = {
        "statement_timeout": seconds or _SECONDS,
        "lock_timeout": seconds / 2 if seconds else _LOCK_SECONDS,
        "idle_in_transaction_session_timeout": max(seconds or 0, 60),
    }
    source = Dsn.of(dsn)
    connection = source.open(application)
    try:
        configure(connection, limits)
        if _is_pooled(connection):
            _check_pool_mode(source)
            _leave_origin(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def configure(connection: Connection, limits: Mapping[str, float]) -> None:
    """Set and verify a session's settings; `limits` are settings in seconds.

    Raises ConfigError where one does not hold.
    """
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    bounds = {name: str(int(limit * 1000)) for name, limit in limits.items()}
    wanted = {**SETTINGS, **bounds}
    names, values = [*wanted, _MARK], [*wanted.values(), _mark(connection)]
    connection.execute(_SET, (names, values))
    # An operator is found by the search path alone: citext's `=` that is not found compares as
    # text does, and hstore has none.
    ((schemas,),) = connection.execute(_OPERATOR_SCHEMAS).fetchall()
    if schemas:
        wanted["search_path"] += f", {schemas}"
        connection.execute(_SET, (["search_path"], [wanted["search_path"]]))
    _verify(connection, wanted)


def _verify(connection: Connection, wanted: Mapping[str, str]) -> None:
    found = dict(connection.execute(_SHOW, ([name.lower() for name in wanted],)).fetchall())
    for name, value in wanted.items():
        if (actual := found.get(name.lower())) != value:
            raise ConfigError(
                f"{_whose(connection)}: setting {name} is {actual!r} after it was set, expected "
                f"{value!r}: {_POOLER}"
            )
    if connection.execute(_MARKED, (_MARK,)).fetchone() != (_mark(connection),):
        raise ConfigError(f"{_whose(connection)}: the session's settings are lost: {_POOLER}")


def _whose(connection: Connection) -> str:
    info = connection.info
    return f"session of role {info.user} in database {info.dbname} at {info.host}:{info.port}"


def _mark(connection: Connection) -> str:
    """Return a mark of this session, since a pooler may replace it by another one."""
    return f"{os.getpid()}/{connection.fileno()}/{connection.info.backend_pid}"


def _backend_pid(connection: Connection) -> int:
    ((found,),) = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchall()
    return int(found)


def _is_pooled(connection: Connection) -> bool:
    """Return whether a pooler is in between: it reports a process number of its own."""
    return _backend_pid(connection) != connection.info.backend_pid


@cache
def _check_pool_mode(dsn: Dsn) -> None:
    """Raise ConfigError where a pooler has pool_mode transaction or statement; ask once a process.

    There two clients meet in one session of the server, or one client is in several: which it is
    depends on the pooler's choice among idle ones, and on what other clients do meanwhile.
    """
    with dsn.open("sink-runner") as one, dsn.open("sink-runner") as other:
        for _ in range(_POOL_ROUNDS):
            pid = _backend_pid(one)
            if pid != _backend_pid(one) or pid == _backend_pid(other):
                raise ConfigError(f"{_whose(one)}: {_POOLER}")


def _leave_origin(connection: Connection) -> None:
    """Reset the replication origin of a session that a pooler had given to another client before.

    DISCARD ALL, with which poolers clean a session, leaves the origin; what the next client writes
    would carry it and be taken for an echo.
    """
    with suppress(errors.InsufficientPrivilege):  # a role that may not set an origin up, either
        found = connection.execute("SELECT pg_replication_origin_session_is_setup()").fetchone()
        if found == (True,):
            connection.execute("SELECT pg_replication_origin_session_reset()")


@contextmanager
def creating(connection: Connection) -> Iterator[None]:
    """Open a transaction that creates tables; IF NOT EXISTS fails if two sessions do so at once."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CONTROL_LOCK,))
        yield


def use_origin(connection: Connection, mapping: str) -> str:
    """Mark every later write of this session with the mapping's replication origin.

    An origin can be used by one session at a time, so each session takes the first free
    slot: ``sink/<mapping>/<slot>``.
    """
    for slot in range(_MAX_SLOTS):
        name = f"sink/{mapping}/{slot}"
        if _try_origin(connection, name):
            return name
    raise ConfigError(f"all {_MAX_SLOTS} replication origins of mapping {mapping!r} are in use")


def renew_commit_time(connection: Connection) -> None:
    """Let the next transaction carry its own commit time.

    A session with an origin stamps every commit with the time of its first one, until it is
    reset; Debezium would report that time as the change's own.  Raises FatalError where a pooler
    has put another session in the place of this one, which has neither the origin nor the
    settings.
    """
    query = "SELECT pg_replication_origin_xact_reset(), pg_catalog.current_setting(%s, true)"
    row = connection.execute(query, (_MARK,)).fetchone()
    if row is None or row[1] != _mark(connection):
        raise FatalError(f"{_whose(connection)}: the session is another one than before: {_POOLER}")


def _try_origin(connection: Connection, name: str) -> bool:
    try:
        with connection.transaction():
            found = connection.execute("SELECT pg_replication_origin_oid(%s)", (name,)).fetchone()
            if found is None or found[0] is None:
                connection.execute("SELECT pg_replication_origin_create(%s)", (name,))
            # With its creation, so that a name without a free place for its state does not stay.
            connection.execute("SELECT pg_replication_origin_session_setup(%s)", (name,))
    except (errors.ObjectInUse, errors.UniqueViolation):
        return False
    except errors.ConfigurationLimitExceeded as fault:
        raise ConfigError(
            f"the server of database {connection.info.dbname} has no free replication origin for "
            f"{name}, expected one for each mapping and one more for a batch beside its events: "
            "raise max_active_replication_origins "
            "(PostgreSQL 18 and later) or max_replication_slots with ALTER SYSTEM and restart the "
            "server"
        ) from fault
    except errors.InsufficientPrivilege as fault:
        raise ConfigError(
            "the runner's role may not use replication origins: GRANT EXECUTE ON FUNCTION "
            "pg_replication_origin_oid, _create, _session_setup to it"
        ) from fault
    return True
