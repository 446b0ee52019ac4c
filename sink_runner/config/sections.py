"""The smaller sections of `sink-runner.toml`, in the order of their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from ..model.envelope import DEFAULT_PLACEHOLDER, Placeholder
from ..model.portions import DEFAULT_BYTES
from ..model.timetable import Cron, Maintenance
from .reader import Count, Duration, Minimum, WholeNumber, section


@section
class Batch:
    """When rows are written together; a single row never waits longer than this."""

    max_rows: Count = 5000
    """Rows that are written in one transaction."""
    max_bytes: Count = DEFAULT_BYTES
    """Bytes of records, or of rows that a batch run reads, that are written in one transaction; a
    single larger one is written alone. A mapping holds two such batches, decoded, beside what the
    Kafka client has fetched."""
    max_wait_ms: WholeNumber = 0
    """How long rows wait for others to be written with them; 0: they are written at once."""
    timeout_seconds: Annotated[float, Minimum(0.1)] = 60.0
    """How long one statement of a write or a lookup may take, and half of it for a lock; after a
    timeout the next attempt has twice as much."""
    settle_seconds: Duration = 5.0
    """How long `sink-runner batch` waits for the source's running transactions to end; what a
    longer one writes is read by the next run."""


@section
class Capture:
    """How Debezium is configured, so that a mapping whose source is not captured is noticed."""

    directory: Path | None = None
    """Folder of Debezium Server's properties, which are compared with the mappings; without it only
    the publications are checked."""
    placeholder: str = DEFAULT_PLACEHOLDER
    """Debezium's unavailable.value.placeholder, for events whose schema does not contain it; the
    transform of debezium-config/ writes it into the schema. A text column of such events must
    never contain it: choose one with a NUL, as hex:00756e617661696c."""

    def __post_init__(self) -> None:
        Placeholder.of_debezium(self.placeholder)  # ValueError where it is malformed


@section
class DeadLetters:
    """How events that cannot be applied are kept: encrypted."""

    key: str = field(repr=False)
    """Encryption key: 32 bytes in base64."""
    key_id: str
    """Name of the key, stored beside what it encrypted."""
    budget: WholeNumber = 1000
    """A mapping with more open dead letters of events than this stops; its offsets stay."""
    budget_share: Annotated[float, Minimum(0)] | None = None
    """A mapping stops, too, where more than this part of a batch fails; 0.5 is half. Batches of
    fewer than 100 events do not count."""
    old_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Previous keys by their names, the oldest first; `sink-runner dlq rekey` makes them
    superfluous."""
    publish_seconds: Duration = 1.0
    """Interval at which dead letters are published to their Kafka topics,
    sink.dead-letters.<source>-to-<target>; 0: never."""


@section
class HealthSettings:
    """Where `sink-runner run` answers /healthz, /readyz and /metrics."""

    host: str = "127.0.0.1"
    """Address to listen on; requests are not authenticated."""
    port: WholeNumber = 0
    """Port to listen on; 0: none."""


@section
class Log:
    """What the runner logs; without a problem, nothing but its start and stop."""

    format: Literal["auto", "json", "console"] = "auto"
    """"auto" is "console" on a terminal and "json" elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """"info" adds starts, stops and takeovers to warnings and errors."""


@section
class PluginSelection:
    """Which plugins are on. ``*`` is every installed one; off takes precedence over on."""

    enabled: tuple[str, ...] = ("*",)
    """Plugins that are on; "*" is every installed one."""
    disabled: tuple[str, ...] = ()
    """Plugins that are off, even if they are enabled elsewhere."""

    def override(
        self, environ: Mapping[str, str], only: Iterable[str] = (), without: Iterable[str] = ()
    ) -> PluginSelection:
        """Return the selection with that of the environment and of the command line.

        The last one that enables plugins replaces the others; what is disabled adds up.
        """
        enabled = split_names(only) or split_names([environ.get("SINK_PLUGINS", "")])
        off = split_names([environ.get("SINK_PLUGINS_OFF", ""), *without])
        return PluginSelection(enabled=enabled or self.enabled, disabled=(*self.disabled, *off))


def split_names(lists: Iterable[str]) -> tuple[str, ...]:
    """Return the names in comma-separated lists."""
    parts = (part.strip() for text in lists for part in text.split(","))
    return tuple(part for part in parts if part)


@section
class MappingQuality:
    """What one mapping has of its own in ``[quality.mappings]``."""

    stale_after_days: Duration
    """The same for this mapping alone."""


@section
class Quality:
    """When `sink-runner quality` reports a row as stale."""

    stale_after_days: Duration = 90.0
    """A row of a target whose version is older is stale."""
    mappings: Mapping[str, MappingQuality] = field(default_factory=dict)
    """One table for each mapping that differs."""

    def stale_after(self, mapping: str) -> float:
        """The mapping's threshold in days."""
        return self.mappings.get(mapping, self).stale_after_days


@section
class Retention:
    """How long the runner's own tables keep what is no longer needed.

    Tombstones have `remember_deletes_days`, and Idempotency-Keys `api.remember_hours`.
    """

    purge_hours: Duration = 24.0
    """Interval of the purges of a runner, the first a minute after its start; 0: none, and you run
    `sink-runner purge`."""
    dead_letters_days: Duration = 90.0
    """How long settled dead letters are kept, whose payload is deleted at once; 0: for ever."""
    audit_days: Duration = 1095.0
    """How long the audit log is kept, in whole months; 0: for ever."""
    conflicts_days: Duration = 90.0
    """How long resolved conflicts are kept, whether a person or a rule of the mapping resolved
    them; a person's decision stays in the audit log. 0: for ever."""
    runs_days: Duration = 90.0
    """How long finished runs of `sink-runner batch` are kept that no later run needs; 0: for
    ever."""
    schedules_days: Duration = 90.0
    """How long the progress of a schedule that no mapping declares is kept, from the first start
    that it missed; 0: for ever."""


@section
class MappingSchedule:
    """When one mapping's batch runs, in place of what the mapping declares."""

    changed: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that read what changed since the last run."""
    full: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that read the whole table."""

    def __post_init__(self) -> None:
        for expression in (*self.changed, *self.full):
            Cron(expression)


@section
class Scheduling:
    """How the batches that the mappings schedule are run."""

    retries: WholeNumber = 3
    """Attempts after the first that fails."""
    retry_minutes: Duration = 5.0
    """Time between two attempts."""
    late_minutes: Duration = 15.0
    """A start that is later than this is logged."""
    limit_minutes: float = 60.0
    """A run that takes longer than this, or than its schedule expects, is logged."""
    tolerated_rows: WholeNumber = 100
    """Rows of a run that may become dead letters before it counts as failed."""
    at_once: Count = 2
    """Batches that may run at the same time, each into another table."""
    maintenance: str = "0 2 * * SUN#1"
    """Start of the maintenance, in which no batch starts: a cron expression, UTC; "" is never."""
    maintenance_minutes: Duration = 120.0
    """How long maintenance lasts; what was missed then runs once."""
    mappings: Mapping[str, MappingSchedule] = field(default_factory=dict)
    """Mappings with times other than those they declare; empty lists: no runs."""

    def __post_init__(self) -> None:
        if self.maintenance:
            Cron(self.maintenance)

    @property
    def window(self) -> Maintenance:
        """The hours in which no batch starts."""
        return Maintenance(self.maintenance, timedelta(minutes=self.maintenance_minutes))


@section
class Schema:
    """Which changes of a source table pause its mapping."""

    strict: bool = True
    """A column of a source, table or query, that may be personal and is not classified pauses its
    mapping; false only warns. What a lookup finds must be classified in either case."""


@section
class Deferral:
    """How events are deferred whose lookup found nothing: the row may arrive later."""

    retry_seconds: Duration = 2.0
    """Interval of the retries."""
    give_up_hours: Duration = 24.0
    """Time after which they become dead letters; rows of a batch never do."""
    max_bytes: Count = DEFAULT_BYTES
    """Bytes of deferred events that are read and retried together; a single larger event is
    retried alone."""
