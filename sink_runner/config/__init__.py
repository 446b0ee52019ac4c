"""The settings: `sink-runner.toml` and the environment, read into frozen dataclasses.

Each section of the file is a class in a module here, and `Config` has them all. Its fields are the
settings with their defaults; the docstring below a field is its description. `reader.py` reads
them, `reference.py` lists them, `dsn.py` and `tls.py` open connections with them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from ..errors import ConfigError
from .api import Api
from .database import Database
from .dsn import Dsn
from .kafka import Kafka
from .lineage import Lineage
from .policies import Policies
from .reader import Duration, Minimum, SettingsReader, section
from .registry import Registry
from .sections import (
    Batch,
    Capture,
    DeadLetters,
    Deferral,
    HealthSettings,
    Log,
    PluginSelection,
    Quality,
    Reconcile,
    Retention,
    Scheduling,
    Schema,
)
from .telemetry import Telemetry

FILE = "sink-runner.toml"
T = TypeVar("T")


@section
class Config:
    """All of `sink-runner.toml` except the plugins' own tables."""

    env_file: Path | None = None
    """File of KEY=VALUE lines, if it exists; variables of the process take precedence."""
    shutdown_seconds: Duration = 10.0
    """Time to finish or roll back a batch after SIGTERM."""
    maintenance_seconds: Annotated[float, Minimum(1)] = 60.0
    """Interval at which rows expire and old state is purged."""
    remember_deletes_days: Duration = 30.0
    """How long tombstones are kept, which reject rows older than the deletion of their key."""
    retry_steps: tuple[Duration, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """Seconds between attempts while a system does not answer; the last interval repeats."""
    kafka: Kafka
    registry: Registry
    databases: Mapping[str, Database]
    """One table for each database."""
    dead_letters: DeadLetters
    policies: Policies = Policies()
    capture: Capture = Capture()
    batch: Batch = Batch()
    waiting: Deferral = Deferral()
    schema: Schema = Schema()
    health: HealthSettings = HealthSettings()
    lineage: Lineage = Lineage()
    log: Log = Log()
    quality: Quality = Quality()
    schedule: Scheduling = Scheduling()
    reconcile: Reconcile = Reconcile()
    retention: Retention = Retention()
    telemetry: Telemetry = Telemetry()
    plugins: PluginSelection = PluginSelection()
    api: Api | None = None

    def __post_init__(self) -> None:
        if not self.retry_steps:
            raise ValueError("retry_steps is empty")

    @property
    def readers(self) -> dict[str, Dsn]:
        """The connection strings of the reader roles, by database."""
        return {name: found.reader_dsn for name, found in self.databases.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The parsed file; each command reads the sections that it needs."""

    path: Path | None = None
    table: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Without the plugins' tables."""
    plugin_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """``[plugins.<name>]``, by name."""
    reader: SettingsReader = field(default_factory=SettingsReader)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of the process and of `env_file`; the former take precedence."""
        return self.reader.environ

    def config(self) -> Config:
        """Return all settings; one ConfigError names every fault."""
        return self.reader.read(Config, self.table)

    # A command that needs no running stack reads only its section: variables that other sections
    # name may not be set.

    def plugins(self) -> PluginSelection:
        return self._section(PluginSelection, "plugins")

    def policies(self) -> Policies:
        return self._section(Policies, "policies")

    def schema(self) -> Schema:
        return self._section(Schema, "schema")

    def health(self) -> HealthSettings:
        return self._section(HealthSettings, "health")

    def scheduling(self) -> Scheduling:
        return self._section(Scheduling, "schedule")

    def _section(self, cls: type[T], name: str) -> T:
        return self.reader.read(cls, self.table.get(name, {}), name)


def find_file(start: Path, environ: Mapping[str, str]) -> Path | None:
    """Return `SINK_CONFIG`, or the nearest `sink-runner.toml` in `start` and its parents."""
    if named := environ.get("SINK_CONFIG"):
        return Path(named)
    folders = [start, *start.parents]
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> ConfigFile:
    """Parse the file; values other than `env_file` are not read yet."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from None
    folder = path.resolve().parent
    if "env_file" in table:
        env_file = SettingsReader(environ, folder).value(Path, table["env_file"], "env_file")
        environ = _read_env_file(env_file) | dict(environ)
    plugins = table.get("plugins")
    tables = _take_plugin_tables(plugins) if isinstance(plugins, dict) else {}
    return ConfigFile(
        path=path, table=table, plugin_tables=tables, reader=SettingsReader(environ, folder)
    )


def _take_plugin_tables(plugins: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take ``[plugins.<name>]`` out of ``[plugins]``, whose own keys may be tables as well."""
    own = {key.name for key in fields(PluginSelection)}
    tables = {name: raw for name, raw in plugins.items() if isinstance(raw, dict)}
    return {name: plugins.pop(name) for name in tables.keys() - own}


def _read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of the file's KEY=VALUE lines; none if there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"env_file: {path}: {type(exc).__name__}") from None
    values = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"env_file: {path}, line {number}: not of the form KEY=VALUE")
        values[name.strip()] = _unquote(value.strip())
    return values


def _unquote(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
