"""A session with one of the configured databases, for a command that looks into it."""

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
def asking(
    config: Config, database: str, application: str, *, reader: bool = False
) -> Iterator[Connection]:
    """A session in which whatever the database refuses is told with its name.

    `reader`: of the role that may only read.
    """
    found = find_database(config.databases, database)
    try:
        with connect(found.reader_dsn if reader else found.dsn, application) as connection:
            yield connection
    except psycopg.Error as fault:
        raise named(fault, database) from fault


def named(fault: psycopg.Error, database: str) -> SinkError:
    """Whose fault it is, and where; never the database's own words, which quote rows."""
    name = type(fault).__name__
    if fault.sqlstate:
        reason = f"database {database!r} refuses: {name}, SQLSTATE {fault.sqlstate}"
    elif isinstance(fault, psycopg.DataError | psycopg.ProgrammingError):
        reason = f"what is given can't be sent to database {database!r}: {name}"
    else:
        reason = f"no connection to database {database!r}: {name}"
    return type(classify_error(fault))(reason)
