"""The runner's own tables in a database: numbered SQL files, each applied once, in their order.

All of them are in schema `sink`.  `sink.migration` records which were applied, when and by which
version, so that an older program refuses a newer layout, and every program an unknown one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import starmap, zip_longest
from typing import NamedTuple

import psycopg
from psycopg import errors

from ...config.dsn import Dsn
from ...errors import ConfigError, DowngradeError
from ..catalog import quoted
from ..error_classes import classified_errors
from ..session import Connection, connect, creating

_CREATE = """
CREATE TABLE IF NOT EXISTS sink.migration (
  number     int         PRIMARY KEY,
  name       text        NOT NULL,
  checksum   text        NOT NULL,            -- SHA-256 of the file
  version    text        NOT NULL,            -- of the program that applied it
  applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_TABLES = """
SELECT to_regclass('sink.migration') IS NOT NULL, to_regclass('sink.partition_offset') IS NOT NULL
"""
_APPLIED = "SELECT number, name, checksum, version FROM sink.migration ORDER BY number"
_RECORD = "INSERT INTO sink.migration (number, name, checksum, version) VALUES (%s, %s, %s, %s)"
# Tables of the versions without migrations, that belong to another role than the session's.
_FOREIGN = """
SELECT relname FROM pg_catalog.pg_class
WHERE relnamespace = to_regnamespace('public') AND relkind = 'r' AND relname = ANY (%s)
  AND NOT pg_catalog.pg_has_role(relowner, 'USAGE') ORDER BY relname
"""
_IS_AHEAD = """
SELECT to_regclass('sink.audit_log_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month',
  'YYYY_MM')) IS NOT NULL
"""
_OLD_TABLES = ["sync_dlq", "cdc_audit_log", "cdc_conflict_resolution"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, as ``0002_dead_letters.sql`` is number 2."""

    number: int
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


class Applied(NamedTuple):
    """One row of `sink.migration`."""

    number: int
    name: str
    checksum: str
    version: str


@cache
def migrations() -> Sequence[Migration]:
    """Return the migrations of this version, in their order."""
    found = [path for path in files(__package__).iterdir() if path.name.endswith(".sql")]
    return [
        Migration(int(path.name[:4]), path.name[5:-4], path.read_bytes())
        for path in sorted(found, key=lambda path: path.name)
    ]


def migrate(connection: Connection) -> list[Migration]:
    """Bring the tables to this version's layout; return the migrations that this call applied.

    Each runs in a transaction of its own, under one advisory lock for all programs that start
    together.  Raises ConfigError where the layout is newer than this version or unknown, or where
    the session's role may not change it; then no part of that migration is done.
    """
    done: list[Migration] = []
    while _pending(connection):
        role = _current_role(connection)
        _check_ownership(connection, role)
        try:
            with creating(connection):
                connection.execute(_CREATE)
                pending = _pending(connection)
                if pending:
                    done.append(_apply(connection, pending[0], role))
        except (errors.InvalidSchemaName, errors.InsufficientPrivilege) as fault:
            raise ConfigError(
                f"role {role} can't create the runner's tables in database "
                f"{connection.info.dbname!r} ({fault.diag.message_primary}), expected a schema "
                "sink that it owns with all that is in it: CREATE SCHEMA sink AUTHORIZATION "
                f"{quoted(role)}"
            ) from fault
    if connection.execute(_IS_AHEAD).fetchone() == (False,):
        # Until the next start or purge the default partition takes the rows.
        with suppress(errors.LockNotAvailable):
            add_audit_partitions(connection)
    return done


def migrate_database(dsn: Dsn | str, application: str = "sink-runner start") -> list[Migration]:
    """As `migrate`, in a session of its own; also raises RetriableError."""
    with classified_errors(), connect(dsn, application) as connection:
        return migrate(connection)


def add_audit_partitions(connection: Connection) -> None:
    """Add the audit log's partitions of this month and the next two.

    Rows of the default partition move to the partitions of their months.
    """
    with creating(connection):
        connection.execute("SELECT sink.add_audit_partitions()")


def has_tables(connection: Connection) -> bool:
    """Whether the runner has written to this database: a source alone has none of its tables.

    Raises ConfigError where their layout is not this version's.
    """
    found = connection.execute(_TABLES).fetchone()
    if found is None or not any(found):
        return False
    if _pending(connection):
        raise ConfigError(
            f"the runner's tables in database {connection.info.dbname!r} are of an older version: "
            "run `sink-runner migrate`, or start the runner"
        )
    return True


def _pending(connection: Connection) -> Sequence[Migration]:
    """Return the migrations to apply; raise ConfigError for an unknown one that was applied."""
    recorded, _ = connection.execute(_TABLES).fetchone() or (False, False)
    rows = connection.execute(_APPLIED).fetchall() if recorded else []
    shipped = migrations()
    for row, expected in zip_longest(starmap(Applied, rows), shipped):
        if row is not None:
            _check_applied(connection, row, expected)
    return shipped[len(rows) :]


def _check_applied(connection: Connection, row: Applied, expected: Migration | None) -> None:
    database, made = connection.info.dbname, f"migration {row.number} ({row.name})"
    if expected is None:
        raise DowngradeError(
            f"database {database!r} has {made}, made by sink-runner {row.version}; this is "
            f"version {version('sink-runner')}, which does not know it: upgrade this program, a "
            "downgrade is not possible"
        )
    if (row.number, row.checksum) != (expected.number, expected.checksum):
        raise ConfigError(
            f"database {database!r} has another {made} than this program: it was applied by "
            f"sink-runner {row.version}, and its file was changed afterwards. Install an unchanged "
            "sink-runner of that version or a later one"
        )


def _apply(connection: Connection, migration: Migration, role: str) -> Migration:
    """Apply a migration in the caller's transaction."""
    connection.execute("SET LOCAL statement_timeout = 0")  # an index may take long to build
    try:
        connection.execute(migration.sql)
    except (errors.OperationalError, errors.InsufficientPrivilege, errors.InvalidSchemaName):
        raise
    except psycopg.Error as fault:
        raise ConfigError(
            f"migration {migration.number} ({migration.name}) fails in database "
            f"{connection.info.dbname!r}: {fault.diag.message_primary}. The tables in schema sink "
            "are not of a version that can be upgraded, or other objects depend on them: drop "
            "those, or set the schema aside (ALTER SCHEMA sink RENAME TO sink_before; CREATE "
            f"SCHEMA sink AUTHORIZATION {quoted(role)})"
        ) from fault
    row = (migration.number, migration.name, migration.checksum, version("sink-runner"))
    connection.execute(_RECORD, row)
    return migration


def _current_role(connection: Connection) -> str:
    """Return the role whose privileges hold; the setting `role` makes it differ from the login."""
    ((role,),) = connection.execute("SELECT current_user").fetchall()
    return str(role)


def _check_ownership(connection: Connection, role: str) -> None:
    """Raise ConfigError where tables of an older version are another role's."""
    rows = connection.execute(_FOREIGN, (_OLD_TABLES,)).fetchall()
    if rows:
        moves = [
            f"  ALTER TABLE public.{name} SET SCHEMA sink; "
            f"ALTER TABLE sink.{name} OWNER TO {quoted(role)};"
            for (name,) in rows
        ]
        raise ConfigError(
            f"role {role} does not own tables of an older version in database "
            f"{connection.info.dbname!r}, so it can't move them to schema sink. Run this as their "
            "owner, who must be a member of that role, or as a superuser, and start again; "
            "runners of the older version stop at their next batch and lose nothing:\n"
            + "\n".join(moves)
        )
