"""Check that the target's server has a replication origin for each mapping that writes to it.

The server keeps the state of an origin permanently, so those of other runners and of batches count
as well. Its limit changes only with a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import psycopg

from ..errors import SinkError
from ..model.findings import Fault
from ..postgres.session import Connection
from .subject import Subject

_LIMIT = """
SELECT name, setting::int FROM pg_settings
WHERE name IN ('max_active_replication_origins', 'max_replication_slots') ORDER BY name LIMIT 1
"""
_MAY_COUNT = """
SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = 'pg_show_replication_origin_status'
"""
_IN_USE = "SELECT external_id FROM pg_show_replication_origin_status()"
_NAMED = "SELECT roname FROM pg_replication_origin"
_SERVER = "SELECT pg_postmaster_start_time(), current_setting('port')"


class _Origins(NamedTuple):
    """The names of a server's origins; None where the role may not see a name."""

    setting: str
    limit: int
    sure: list[str | None]
    """The origins that certainly have a state."""
    named: list[str | None]
    """The origins that may have a state."""


def check_origin_limit(subject: Subject) -> Iterator[Fault]:
    """Too few free origins, if the mappings get theirs in the order of their names.

    So the same mappings are reported each time, before any of them starts.
    """
    found = _read(subject.writing)
    waiting = sorted(
        name
        for name in {subject.name, *_writing_to_the_server(subject)}
        if not any((origin or "").startswith(f"sink/{name}/") for origin in found.sure)
    )
    if subject.name not in waiting:
        return
    place = waiting.index(subject.name)
    if place < found.limit - len(found.named):
        return
    free = max(found.limit - len(found.named), 0)
    raised = max(2 * found.limit, len(found.named) + len(waiting))
    yield Fault(
        f"the server of database {subject.target.table.database} has {free} of {found.limit} "
        f"replication origins free, too few for mapping {subject.name!r}",
        f"{len(waiting)}, one for each mapping that writes to the server and has none yet: "
        f"{', '.join(waiting)}",
        f"ALTER SYSTEM SET {found.setting} = {raised} and restart the server, or drop origins "
        "that nothing uses (SELECT pg_replication_origin_drop(...))",
        refused=place >= found.limit - len(found.sure),
    )


def _read(session: Connection) -> _Origins:
    setting, limit = session.execute(_LIMIT).fetchall()[0]
    named = [name for (name,) in session.execute(_NAMED).fetchall()]
    if session.execute(_MAY_COUNT).fetchone() == (True,):
        sure = [name for (name,) in session.execute(_IN_USE).fetchall()]
        return _Origins(setting, limit, sure, sure)
    ours = [name for name in named if name.startswith("sink/")]
    return _Origins(setting, limit, ours, named)


def _writing_to_the_server(subject: Subject) -> Iterator[str]:
    """Yield the mappings that run with this one and write to the same server."""
    own = subject.target.table.database
    server = _server(subject.writing)
    same: dict[str, bool] = {own: True}
    for name, mapping in subject.beside.items():
        database = mapping.target_table.database
        if database not in same:
            same[database] = _is_on(subject, database, server)
        if same[database]:
            yield name


def _is_on(subject: Subject, database: str, server: object) -> bool:
    """Whether a database is on the server; False where it does not answer."""
    with suppress(psycopg.Error, SinkError, KeyError):
        return _server(subject.open_session(subject.config.databases[database].dsn)) == server
    return False


def _server(session: Connection) -> object:
    return session.execute(_SERVER).fetchone()
