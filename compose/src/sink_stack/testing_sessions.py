"""Sessions of every role on scratch databases, and checks of the privileges of a role."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import errors

from .testing_postgres import DATABASES, Postgres, Role


class Sessions:
    """Sessions on a copy of each database; whatever a test does in them is rolled back."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._names = {name: postgres.fresh_database(name, migrated=False) for name in DATABASES}
        self._open: list[psycopg.Connection] = []

    def __call__(self, database: str, role: Role) -> psycopg.Connection:
        connection = psycopg.connect(self.dsn(database, role))
        self._open.append(connection)
        return connection

    def dsn(self, database: str, role: Role) -> str:
        return self._postgres.dsn(self._names[database], role)

    @contextmanager
    def rolled_back(self) -> Iterator["Sessions"]:
        """End every session that was opened inside."""
        try:
            yield self
        finally:
            while self._open:
                connection = self._open.pop()
                connection.rollback()
                connection.close()

    def columns(self, database: str, role: Role, privilege: str, relation: str) -> set[str]:
        """The columns of a relation on which a role has a privilege."""
        rows = self(database, "admin").execute(
            """SELECT attname FROM pg_attribute
               WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
                 AND has_column_privilege(%s, attrelid, attnum, %s)""",
            (relation, role, privilege),
        )
        return {str(name) for (name,) in rows}

    def tables(self, database: str, role: Role, privilege: str) -> set[str]:
        """Tables of ours on which a role has a privilege as a whole; its own schema is left out."""
        rows = self(database, "admin").execute(
            """SELECT oid::regclass::text FROM pg_class
               WHERE relkind IN ('r', 'v', 'p') AND relnamespace IN (
                 SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|sink$)')
                 AND has_table_privilege(%s, oid, %s)""",
            (role, privilege),
        )
        return {str(name) for (name,) in rows}


def denied(connection: psycopg.Connection, statement: LiteralString) -> bool:
    """Whether a statement fails because a privilege is missing; any other error is raised."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except errors.InsufficientPrivilege:
        return True
    return False
