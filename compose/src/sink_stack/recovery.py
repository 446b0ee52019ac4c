"""Backs up the cluster's files, and restores one database from them on a server of its own.

As after a real loss, the other database continues and the restored one is older.  Its log begins
where the backup ended, on a new timeline, and it has no replication slot.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg

from . import ports
from . import settings as settings_module
from .errors import StackError
from .layout import Layout
from .postgres import Postgres, user
from .processes import Command, Supervisor
from .settings import DATABASES, Settings, own_port

_STARTED_SECONDS = 60
# Replay only the log that the backup contains, then begin a new timeline.
_RECOVERY = "restore_command = 'false'\n"
_IN_RECOVERY = "SELECT pg_is_in_recovery()"


def part(database: str) -> str:
    """The name of a restored database's server among the parts."""
    return f"postgres-{database}"


PARTS = tuple(part(database) for database in DATABASES.values())


def back_up(postgres: Postgres, settings: Settings, folder: Path) -> None:
    """Copy the running cluster with PostgreSQL's low-level backup API."""
    if folder.exists():
        raise StackError(f"{folder} exists already: name a folder that does not exist")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with psycopg.connect(settings.admin_dsn("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_backup_start('sink-stack', true)")
        shutil.copytree(postgres.data, folder, copy_function=_copy, ignore=_left_out)
        found = connection.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchone()
    assert found is not None
    (folder / "backup_label").write_text(found[0], encoding="utf-8")
    # The log that was written during the copy belongs to the backup.
    log = postgres.data / "pg_wal"
    shutil.copytree(log, folder / "pg_wal", copy_function=_copy, dirs_exist_ok=True)


def restore(
    supervisor: Supervisor, postgres: Postgres, layout: Layout, database: str, folder: Path
) -> Settings:
    """Restore a database; all parts use the restored one from now on."""
    if database not in DATABASES.values():
        raise StackError(
            f"unknown database {database!r}; databases: {', '.join(DATABASES.values())}"
        )
    if not (folder / "backup_label").exists():
        raise StackError(f"{folder} holds no backup: `sink-stack backup` makes one")
    settings = settings_module.load(layout)
    assert settings is not None
    data = _data(postgres, database)
    supervisor.stop(part(database))
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(folder, data)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
        file.write(_RECOVERY)
    _give_to_server(data)
    port = str(ports.any_free(frozenset()))
    settings = settings_module.remember(layout, settings, **{own_port(database): port})
    start(supervisor, postgres, settings)
    with psycopg.connect(settings.admin_dsn(database), autocommit=True) as connection:
        for other in set(DATABASES.values()) - {database}:
            connection.execute(f"DROP DATABASE {other} WITH (FORCE)".encode())
    return settings


def start(supervisor: Supervisor, postgres: Postgres, settings: Settings) -> list[str]:
    """Start the servers of restored databases that do not run; return their names."""
    started = []
    for database in DATABASES.values():
        if own_port(database) in settings.values:
            command = _command(postgres, settings, database)
            if supervisor.ensure(command):
                dsn = settings.admin_dsn(database)
                supervisor.wait_until(command.name, partial(_ready, dsn), _STARTED_SECONDS)
                started.append(command.name)
    return started


def _command(postgres: Postgres, settings: Settings, database: str) -> Command:
    whole, data = postgres.command(), _data(postgres, database)
    port = str(settings.database_port(database))
    swapped = {str(postgres.data): str(data), str(settings.port("postgres")): port}
    argv = [swapped.get(argument, argument) for argument in whole.argv]
    return replace(whole, name=part(database), argv=argv, cwd=data)


def _data(postgres: Postgres, database: str) -> Path:
    return postgres.data.with_name(f"pgdata-{database}")


def _ready(dsn: str) -> bool:
    """Whether the server answers and has finished recovery."""
    try:
        with psycopg.connect(dsn, connect_timeout=2) as connection:
            return connection.execute(_IN_RECOVERY).fetchone() == (False,)
    except psycopg.OperationalError:
        return False


def _copy(source: str, target: str) -> None:
    """Copy a file unless it was deleted meanwhile; replaying the log deletes it as well."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _left_out(folder: str, names: Iterable[str]) -> set[str]:
    """Return the names that belong to the running server and not to its data."""
    match Path(folder).name:
        case "pg_replslot":
            return set(names)
        case _:
            return {"postmaster.pid", "postmaster.opts"} & set(names)


def _give_to_server(data: Path) -> None:
    owner = user()
    if owner is None:
        return
    for folder, _, files in os.walk(data):
        shutil.chown(folder, owner, owner)
        for name in files:
            shutil.chown(Path(folder) / name, owner, owner)
