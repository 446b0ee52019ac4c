"""A session with one of the configured databases, for a command that reads or changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ..config import Config
from ..config.database import find_database
from ..errors import SinkError
from ..postgres.error_classes import classify_error
from ..postgres.session import Connection, connect


@contextmanager
def database_session(
    config: Config, database: str, application: str, *, reader: bool = False
) -> Iterator[Connection]:
    """Open a session, of the role that may only read if `reader`; its errors name the database."""
    found = find_database(config.databases, database)
    try:
        with connect(found.reader_dsn if reader else found.dsn, application) as connection:
            yield connection
    except psycopg.Error as fault:
        raise _named(fault, database) from fault


def _named(fault: psycopg.Error, database: str) -> SinkError:
    """Return an error of the same kind without PostgreSQL's own text, which may quote a row."""
    name = type(fault).__name__
    if fault.sqlstate:
        reason = f"database {database!r} refuses: {name}, SQLSTATE {fault.sqlstate}"
    elif isinstance(fault, psycopg.DataError | psycopg.ProgrammingError):
        reason = f"a value of the command line can't be sent to database {database!r}: {name}"
    else:
        reason = f"no connection to database {database!r}: {name}"
    return type(classify_error(fault))(reason)
