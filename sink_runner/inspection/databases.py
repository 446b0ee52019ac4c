"""Find the databases with dead letters, and read ids such as ``south/12``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..config import Config
from ..errors import ConfigError
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import has_tables
from ..postgres.session import Connection, connect


@contextmanager
def dlq_session(config: Config, database: str) -> Iterator[Connection]:
    """Open a session whose errors are classified."""
    with (
        classified_errors(),
        connect(config.databases[database].dsn, "sink-runner dlq") as connection,
    ):
        yield connection


def databases(config: Config) -> list[str]:
    """Return the configured databases that have a table of dead letters."""
    found = []
    for name in config.databases:
        with dlq_session(config, name) as connection:
            if has_tables(connection):
                found.append(name)
    return found


def by_database(config: Config, ids: list[str]) -> Mapping[str, list[int] | None]:
    """Return the requested dead letters by database; None requests all of a database.

    Every database numbers its own dead letters, so ``south/12`` is an id, and ``12`` is one only if
    there is one database.
    """
    known = databases(config)
    if not ids:
        return dict.fromkeys(known)
    found: dict[str, list[int] | None] = {}
    for text in ids:
        database, number = _parsed(text, known)
        numbers = found.setdefault(database, [])
        assert numbers is not None
        numbers.append(number)
    return found


def _parsed(text: str, known: list[str]) -> tuple[str, int]:
    database, slash, number = text.rpartition("/")
    if not slash and len(known) == 1:
        database = known[0]
    if not number.isdecimal() or database not in known:
        example = f"{known[0] if known else 'DATABASE'}/12"
        raise ConfigError(
            f"{text!r} is not the id of a dead letter; write it as `dlq list` prints it: {example}"
        )
    return database, int(number)
