"""The runner's configuration: one file, `sink-runner.toml`, read into frozen dataclasses.

Every key is a field here and its doc string is the field's metadata, from which
``sink-runner config`` prints the reference.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from ..model.envelope import DEFAULT_PLACEHOLDER, Placeholder
from ..model.portions import DEFAULT_BYTES
from .api import Api
from .database import Database
from .dsn import Dsn
from .health import HealthSettings
from .kafka_options import option_faults
from .kafka_security import Security
from .ranger import RangerAdmin
from .registry import Registry
from .retention import Retention
from .schedule import Scheduling
from .values import Reader, doc

FILE = "sink-runner.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """Where the change events come from."""

    bootstrap: str = field(metadata=doc("Brokers to ask first: host:port, comma separated."))
    client: Literal["auto", "kafka-python", "librdkafka"] = field(
        default="auto",
        metadata=doc(
            'What reads from Kafka; "auto" is "librdkafka", the faster one, where that extra is '
            "installed."
        ),
    )
    security: Security = field(default_factory=Security)
    options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict,
        repr=False,
        metadata=doc(
            "Options of the clients, by their own names, in [kafka.options.kafka-python] and "
            "[kafka.options.librdkafka]; they replace the runner's numbers, but not what it relies "
            "on."
        ),
    )

    def __post_init__(self) -> None:
        if self.options and (faults := [*option_faults(self.options)]):
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What Debezium is told, so that a mapping whose source is not captured is noticed."""

    directory: Path | None = field(
        default=None,
        metadata=doc(
            "Folder of Debezium Server's properties, which are held against the mappings; without "
            "it only the publications are checked."
        ),
    )
    placeholder: str = field(
        default=DEFAULT_PLACEHOLDER,
        metadata=doc(
            "What Debezium's unavailable.value.placeholder is, for events whose schema does not "
            "say; the transform of debezium-config/ writes it into the schema. A text column of "
            "such events must never hold it: choose one with a NUL, as hex:00756e617661696c."
        ),
    )

    def __post_init__(self) -> None:
        Placeholder.of_debezium(self.placeholder)  # ValueError where it is malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies(RangerAdmin):
    """What is masked, and how."""

    directory: Path = field(
        default=Path("ranger-policies"), metadata=doc("Folder of the masking policies.")
    )
    key: str = field(
        default="",
        repr=False,
        metadata=doc("Key of MASK_HASH, 32 characters or more; needed only where it is used."),
    )
    refresh_seconds: float = field(
        default=5.0,
        metadata=doc(
            "How often a change of the policies is looked for, while running; 0 never.", minimum=0
        ),
    )
    max_age_seconds: float = field(
        default=3600.0,
        metadata=doc(
            "Mappings pause, the API's reads and the commands are refused, once Ranger Admin has "
            "not confirmed the policies (or the folder could not be read) for this long; they go "
            "on when it does.",
            minimum=1,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which plugins are on.  ``*`` is every installed one; off beats on."""

    enabled: tuple[str, ...] = field(
        default=("*",), metadata=doc('Plugins that are on; "*" is every installed one.')
    )
    disabled: tuple[str, ...] = field(
        default=(), metadata=doc("Plugins that are off, whatever else names them.")
    )

    def override(
        self, environ: Mapping[str, str], only: Iterable[str] = (), without: Iterable[str] = ()
    ) -> Choice:
        """Return the choice after the environment and the command line had their say.

        What is on is replaced by whoever speaks last; what is off adds up.
        """
        enabled = names([*only]) or names([environ.get("SINK_PLUGINS", "")]) or self.enabled
        off = names([environ.get("SINK_PLUGINS_OFF", ""), *without])
        return Choice(enabled=enabled, disabled=(*self.disabled, *off))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """When rows are written together; a lone one is never kept waiting longer than this."""

    max_rows: int = field(
        default=5000, metadata=doc("Rows that are written in one transaction.", minimum=1)
    )
    max_bytes: int = field(
        default=DEFAULT_BYTES,
        metadata=doc(
            "Bytes of records, or of rows that a batch run reads, that are written in one "
            "transaction; a single larger one is written alone. A mapping holds two such batches, "
            "decoded, beside what the Kafka client has fetched.",
            minimum=1,
        ),
    )
    max_wait_ms: int = field(
        default=0,
        metadata=doc("How long rows wait for company; 0 writes what is there.", minimum=0),
    )
    timeout_seconds: float = field(
        default=60.0,
        metadata=doc(
            "How long one statement of a write or a lookup may take, and half of it for a lock; "
            "each attempt that runs out of time is followed by one with twice as much.",
            minimum=0.1,
        ),
    )
    settle_seconds: float = field(
        default=5.0,
        metadata=doc(
            "How long `sink-runner batch` waits for the source's running transactions to end; "
            "what goes on for longer it reads the next time.",
            minimum=0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """How events that cannot be applied are kept: encrypted."""

    key: str = field(repr=False, metadata=doc("Encryption key: 32 bytes in base64."))
    key_id: str = field(metadata=doc("Name of the key, stored beside what it encrypted."))
    budget: int = field(
        default=1000,
        metadata=doc(
            "A mapping with more open letters of events than this stops, with its offsets where "
            "they are.",
            minimum=0,
        ),
    )
    budget_share: float | None = field(
        default=None,
        metadata=doc(
            "And so does one where more than this part of a batch fails; 0.5 is half. Batches of "
            "fewer than 100 events do not count.",
            minimum=0,
        ),
    )
    old_keys: Mapping[str, str] = field(
        default_factory=dict,
        repr=False,
        metadata=doc(
            "Keys that were used before, by their names, the oldest first; `sink-runner dlq rekey` "
            "makes them superfluous."
        ),
    )
    publish_seconds: float = field(
        default=1.0,
        metadata=doc(
            "How often their Kafka topics, sink.dead-letters.<source>-to-<target>, are fed; "
            "0 never.",
            minimum=0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingQuality:
    """What one mapping has of its own in ``[quality.mappings]``."""

    stale_after_days: float = field(metadata=doc("The same for this mapping alone.", minimum=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """When `sink-runner quality` calls a row stale."""

    stale_after_days: float = field(
        default=90.0,
        metadata=doc("A row of a target whose version is older is flagged as stale.", minimum=0),
    )
    mappings: Mapping[str, MappingQuality] = field(
        default_factory=dict, metadata=doc("One table for each mapping that differs.")
    )

    def stale_after(self, mapping: str) -> float:
        """The mapping's threshold in days."""
        own = self.mappings.get(mapping)
        return self.stale_after_days if own is None else own.stale_after_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How events wait whose lookup found nothing: what they need may be on its way."""

    retry_seconds: float = field(
        default=2.0, metadata=doc("How often they are tried again.", minimum=0)
    )
    give_up_hours: float = field(
        default=24.0,
        metadata=doc(
            "After so long they are dead letters like others; rows of a batch never are.", minimum=0
        ),
    )
    max_bytes: int = field(
        default=DEFAULT_BYTES,
        metadata=doc(
            "Bytes of deferred events that are read and tried again at once; a single larger event "
            "is tried alone.",
            minimum=1,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a change of a source table must not do."""

    strict: bool = field(
        default=True,
        metadata=doc(
            "A column of a source, table or query, that may be personal and is not classified "
            "pauses its mapping; false only warns. What a lookup finds has to be classified anyway."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the runner says; nothing, when nothing is wrong."""

    format: Literal["auto", "json", "console"] = field(
        default="auto", metadata=doc('"auto" is "console" on a terminal and "json" elsewhere.')
    )
    level: Literal["debug", "info", "warning", "error"] = field(
        default="info",
        metadata=doc('"info" adds starts, stops and takeovers to what is wrong.'),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of `sink-runner.toml` but the plugins' own tables."""

    env_file: Path | None = field(
        default=None,
        metadata=doc("KEY=VALUE lines, read if the file is there; the real environment wins."),
    )
    shutdown_seconds: float = field(
        default=10.0, metadata=doc("Time to finish or roll back a batch after SIGTERM.", minimum=0)
    )
    maintenance_seconds: float = field(
        default=60.0, metadata=doc("How often rows are expired and old state purged.", minimum=1)
    )
    remember_deletes_days: float = field(
        default=30.0,
        metadata=doc("How long a deleted key refuses rows older than its deletion.", minimum=0),
    )
    retry_steps: tuple[float, ...] = field(
        default=(1.0, 2.0, 4.0, 8.0, 16.0),
        metadata=doc(
            "Seconds between attempts when a system says no; the last repeats.", minimum=0
        ),
    )
    kafka: Kafka
    registry: Registry
    databases: Mapping[str, Database] = field(metadata=doc("One table for each database."))
    dead_letters: DeadLetters
    policies: Policies = field(default_factory=Policies)
    capture: Capture = field(default_factory=Capture)
    batch: Batch = field(default_factory=Batch)
    waiting: Waiting = field(default_factory=Waiting)
    schema: Schema = field(default_factory=Schema)
    health: HealthSettings = field(default_factory=HealthSettings)
    log: Log = field(default_factory=Log)
    quality: Quality = field(default_factory=Quality)
    schedule: Scheduling = field(default_factory=Scheduling)
    retention: Retention = field(default_factory=Retention)
    plugins: Choice = field(default_factory=Choice)
    api: Api | None = field(default=None, metadata=doc("The HTTP service; absent: there is none."))

    def __post_init__(self) -> None:
        if not self.retry_steps:
            raise ValueError("retry_steps is empty")

    @property
    def readers(self) -> dict[str, Dsn]:
        """How to reach each database as the role that may only read."""
        return {name: found.reader_dsn for name, found in self.databases.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The file as it stands; each command takes from it what it needs."""

    path: Path | None = None
    table: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Without the plugins' tables."""
    plugin_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """``[plugins.<name>]``, by name."""
    reader: Reader = field(default_factory=Reader)

    @property
    def environ(self) -> Mapping[str, str]:
        """The process's environment over what the `env_file` says."""
        return self.reader.environ

    def config(self) -> Config:
        """Return all of it; every fault is named in one `ConfigError`."""
        return self.reader.read(Config, self.table)

    def choice(self) -> Choice:
        """Return ``[plugins]`` only: that needs no running stack."""
        return self.reader.read(Choice, self.table.get("plugins", {}), "plugins")

    def policies(self) -> Policies:
        """Return ``[policies]`` only: that needs no running stack, nor does the next."""
        return self.reader.read(Policies, self.table.get("policies", {}), "policies")

    def schema(self) -> Schema:
        """Return ``[schema]`` only."""
        return self.reader.read(Schema, self.table.get("schema", {}), "schema")

    def health(self) -> HealthSettings:
        """Return ``[health]`` only: where a running runner answers."""
        return self.reader.read(HealthSettings, self.table.get("health", {}), "health")

    def scheduling(self) -> Scheduling:
        """Return ``[schedule]`` only: that needs no running stack, either."""
        return self.reader.read(Scheduling, self.table.get("schedule", {}), "schedule")


def find(start: Path, environ: Mapping[str, str]) -> Path | None:
    """Return `SINK_CONFIG`, or the nearest `sink-runner.toml` in `start` and its parents."""
    if named := environ.get("SINK_CONFIG"):
        return Path(named)
    folders = [start, *start.parents]
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> ConfigFile:
    """Parse the file; values are not looked at yet, but for `env_file`."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from None
    folder = path.resolve().parent
    if "env_file" in table:
        env_file = Reader(environ, folder).value(Path, table["env_file"], "env_file")
        environ = read_env_file(env_file) | dict(environ)
    plugins = table.get("plugins")
    tables = _plugin_tables(plugins) if isinstance(plugins, dict) else {}
    return ConfigFile(path=path, table=table, plugin_tables=tables, reader=Reader(environ, folder))


def _plugin_tables(plugins: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take ``[plugins.<name>]`` out of ``[plugins]``, whose own keys may be tables as well."""
    own = {key.name for key in fields(Choice)}
    tables = {name: raw for name, raw in plugins.items() if isinstance(raw, dict)}
    return {name: plugins.pop(name) for name in tables.keys() - own}


def read_env_file(path: Path) -> dict[str, str]:
    """Return what the file's KEY=VALUE lines say; nothing if there is no such file."""
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
        values[name.strip()] = _unquoted(value.strip())
    return values


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def names(lists: Iterable[str]) -> tuple[str, ...]:
    """Return the names in comma-separated lists."""
    parts = (part.strip() for text in lists for part in text.split(","))
    return tuple(part for part in parts if part)
