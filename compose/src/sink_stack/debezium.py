"""Debezium Server, once for each direction, on copies of the files of debezium-config/."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg

from . import java
from .errors import StackError
from .layout import Layout
from .processes import Command
from .programs import Programs
from .settings import DATABASES, Settings

_SLOT_ACTIVE = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
_JVM = (
    "-Xms128m",
    # A row of 20 MB is in memory several times: as text, as Avro, and in the producer's buffer.
    "-Xmx1g",
    "-XX:+UseSerialGC",
    # Quarkus resets thread locals by reflection, which Java 24 and later refuse without this.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)
_INCLUDED = "debezium.source.table.include.list"


class Debezium:
    """One Debezium Server; its name is a key of `DATABASES`, whose database it captures."""

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        programs: Programs,
        name: str,
    ) -> None:
        self.name = name
        self._layout = layout
        self._settings = settings
        self._programs = programs

    def command(self) -> Command:
        folder = self._layout.capture
        files = (folder / "common.properties", folder / f"{self.name}.properties")
        return Command(
            name=self.name,
            argv=server_argv(self._programs, files),
            cwd=self._folder(),
            env=self._env(),
            watched_files=files,
            restart=True,
        )

    def ready(self) -> bool:
        """Whether it streams: the snapshot is done and the slot is held."""
        dsn = self._settings.admin_dsn(DATABASES[self.name])
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            found = connection.execute(_SLOT_ACTIVE, [f"sink_{self.name}"]).fetchone()
        return found is not None

    def _folder(self) -> Path:
        folder = self._layout.home / self.name
        folder.mkdir(exist_ok=True)
        return folder

    def _env(self) -> dict[str, str]:
        return {
            "CAPTURE_DATABASE_HOST": "127.0.0.1",
            "CAPTURE_DATABASE_PORT": str(self._settings.database_port(DATABASES[self.name])),
            "CAPTURE_DATABASE_PASSWORD": self._settings.password("capture"),
            "CAPTURE_KAFKA": self._settings.kafka,
            "CAPTURE_REGISTRY": f"{self._settings.registry}/apis/registry/v3",
            "CAPTURE_HTTP_HOST": "127.0.0.1",
            "CAPTURE_HTTP_PORT": str(self._settings.port(self.name)),
            "CAPTURE_OFFSETS": str(self._folder() / "offsets.dat"),
        }


def server_argv(programs: Programs, files: Sequence[Path]) -> list[str]:
    """Return the command of a Debezium Server; the properties of a later file take precedence."""
    locations = ",".join(path.absolute().as_uri() for path in files)  # a path may hold a blank
    argv = [str(programs.java), *_JVM, *java.keep_classes(programs.transform.parent)]
    argv += [f"-Dquarkus.config.locations={locations}"]
    return [*argv, "-cp", _class_path(programs), "io.debezium.server.Main"]


def _class_path(programs: Programs) -> str:
    home = programs.debezium
    runner = next(home.glob("debezium-server-*runner.jar"))
    # Ours comes first: one of its classes replaces Debezium's.  Avro comes last: it completes
    # the archive and must not replace anything in it.
    parts = [programs.transform, runner, home / "lib" / "*", programs.avro / "*"]
    return os.pathsep.join(str(part) for part in parts)


def write_properties(layout: Layout, extra_tables: Mapping[str, Sequence[str]]) -> None:
    """Copy debezium-config/ into the home; `extra_tables` adds tables to a server's list.

    Debezium and the runner read the copy: the runner refuses a mapping that is not captured.
    """
    layout.capture.mkdir(parents=True, exist_ok=True)
    for path in layout.debezium.glob("*.properties"):
        text = path.read_text(encoding="utf-8")
        if extra := extra_tables.get(path.stem):
            text += f"\n{_INCLUDED}={','.join([*captured_tables(path), *extra])}\n"
        (layout.capture / path.name).write_text(text, encoding="utf-8")


def captured_tables(path: Path) -> list[str]:
    """Return the tables in `table.include.list` of a file of properties."""
    text = path.read_text(encoding="utf-8").replace("\\\n", "")
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == _INCLUDED:
            return value.split(",")
    raise StackError(f"{path}: no {_INCLUDED}")
