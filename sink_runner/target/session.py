"""The session with a target database: who we are there, and how our writes are marked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import errors

from ..errors import ConfigError

Connection = psycopg.Connection[Any]

_SECONDS, _LOCK_SECONDS = 300.0, 30.0
_CONTROL_LOCK = 0x51_4E_4B  # any constant of ours: serialises the creation of our own tables
_MAX_SLOTS = 16
_SCRIPTS = ("control.sql", "batch.sql", "schema.sql")


def connect(dsn: str, application: str, seconds: float | None = None) -> Connection:
    """Open a session in UTC; every transaction on it is explicit.

    A statement may take so many seconds, and wait half of them for one lock: both end as errors
    that tell the one from the other.
    """
    limits = {
        "statement_timeout": seconds or _SECONDS,
        "lock_timeout": seconds / 2 if seconds else _LOCK_SECONDS,
        "idle_in_transaction_session_timeout": max(seconds or 0, 60),
    }
    options = [f"-c {name}={int(limit * 1000)}" for name, limit in limits.items()]
    return psycopg.connect(
        dsn,
        autocommit=True,
        application_name=application,
        options=" ".join(["-c timezone=UTC", *options]),
        connect_timeout=10,
    )


@contextmanager
def creating(connection: Connection) -> Iterator[None]:
    """A transaction that makes tables of ours: IF NOT EXISTS fails where two do so at once."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CONTROL_LOCK,))
        yield


def create_control_tables(connection: Connection) -> None:
    """Make the runner's own tables, once for all runners that start together."""
    folder = files(__package__).joinpath("sql")
    script = "".join(folder.joinpath(name).read_text() for name in _SCRIPTS)
    try:
        with creating(connection):
            connection.execute(script.encode())
    except (errors.InvalidSchemaName, errors.InsufficientPrivilege) as fault:
        raise ConfigError(
            f"the runner's role can't create its tables in database {connection.info.dbname!r}: "
            "CREATE SCHEMA sink AUTHORIZATION <role>"
        ) from fault


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
    reset; Debezium would report that time as the change's own.
    """
    connection.execute("SELECT pg_replication_origin_xact_reset()")


def _try_origin(connection: Connection, name: str) -> bool:
    try:
        with connection.transaction():
            found = connection.execute("SELECT pg_replication_origin_oid(%s)", (name,)).fetchone()
            if found is None or found[0] is None:
                connection.execute("SELECT pg_replication_origin_create(%s)", (name,))
        connection.execute("SELECT pg_replication_origin_session_setup(%s)", (name,))
    except (errors.ObjectInUse, errors.UniqueViolation):
        return False
    except errors.InsufficientPrivilege as fault:
        raise ConfigError(
            "the runner's role may not use replication origins: GRANT EXECUTE ON FUNCTION "
            "pg_replication_origin_oid, _create, _session_setup to it"
        ) from fault
    return True
