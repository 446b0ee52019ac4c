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

_ALL_PERCENT = 100


@section
class Batch:
    """How many rows are written together, and how long they wait for each other."""

    max_rows: Count = 5000
    """Rows that are written in one transaction."""
    max_bytes: Count = DEFAULT_BYTES
    """Bytes of records, or of rows that a batch run reads, that are written in one transaction; a
    single larger one is written alone. A mapping needs memory for two such batches, decoded, and
    for the records that the Kafka client has fetched."""
    max_wait_ms: WholeNumber = 0
    """How long rows wait for others to be written with them; 0: they are written at once."""
    timeout_seconds: Annotated[float, Minimum(0.1)] = 60.0
    """How long one statement of a write or a lookup may take; it may wait half of that for a lock.
    After a timeout the next attempt may take twice as long."""
    settle_seconds: Duration = 5.0
    """How long `sink-runner batch` waits for the source's running transactions to end; what a
    longer one writes is read by the next run."""


@section
class Capture:
    """Debezium's configuration: a mapping whose source it does not capture is reported."""

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
    """How dead letters are encrypted, limited and published."""

    key: str = field(repr=False)
    """Encryption key: 32 bytes in base64."""
    key_id: str
    """Name of the key, stored beside what it encrypted."""
    budget: WholeNumber = 1000
    """A mapping with more open dead letters of events than this stops; its offsets stay."""
    budget_share: Annotated[float, Minimum(0)] | None = None
    """A mapping also stops if more than this part of a batch fails; 0.5 is half. Batches of fewer
    than 100 events do not count."""
    old_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Previous keys by their names, the oldest first; not needed after `sink-runner dlq rekey`."""
    publish_seconds: Duration = 1.0
    """Interval at which dead letters are published to their Kafka topics,
    sink.dead-letters.<source>-to-<target>; 0: never."""


@section
class HealthSettings:
    """Where `sink-runner run` answers /healthz, /readyz and /metrics."""

    host: str = "127.0.0.1"
    """Address to listen on; requests are not authenticated."""
    port: WholeNumber = 0
    """Port to listen on; 0: do not listen."""


@section
class Log:
    """Format and level of the log; without a problem, only start and stop are logged."""

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

        The command line's enabled plugins replace those of the environment, and these replace the
        file's.  The disabled plugins of all three are combined.
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
    """The settings of one mapping in ``[quality.mappings]``."""

    stale_after_days: Duration
    """The threshold of this mapping, in place of `quality.stale_after_days`."""


@section
class Quality:
    """When `sink-runner quality` reports a row as stale."""

    stale_after_days: Duration = 90.0
    """A row of a target whose version is older is stale."""
    mappings: Mapping[str, MappingQuality] = field(default_factory=dict)
    """One table for each mapping that differs."""

    def stale_after(self, mapping: str) -> float:
        """Return the mapping's threshold in days."""
        return self.mappings.get(mapping, self).stale_after_days


@section
class Retention:
    """How long the runner's own tables keep what is no longer needed.

    Tombstones have `remember_deletes_days`, and Idempotency-Keys `api.remember_hours`.
    """

    purge_hours: Duration = 24.0
    """Interval at which a runner purges, first a minute after its start; 0: never, so you have to
    run `sink-runner purge`."""
    dead_letters_days: Duration = 90.0
    """How long settled dead letters are kept without their payload; 0: for ever."""
    audit_days: Duration = 1095.0
    """How long the audit log is kept, in whole months, and the requests of operators; 0: for
    ever."""
    conflicts_days: Duration = 90.0
    """How long resolved conflicts are kept, whether a person or a rule of the mapping resolved
    them; a person's decision stays in the audit log. 0: for ever."""
    runs_days: Duration = 90.0
    """How long finished batch and reconciliation runs that no later run needs are kept; 0: for
    ever."""
    schedules_days: Duration = 90.0
    """How long the progress of a schedule that no mapping declares is kept, from the first start
    that it missed; 0: for ever."""


@section
class MappingSchedule:
    """The schedules of one mapping's batch runs, in place of those that it declares."""

    changed: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that read what changed since the last run."""
    full: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that read the whole table."""

    def __post_init__(self) -> None:
        for expression in (*self.changed, *self.full):
            Cron(expression)


@section
class ReconcileSchedule:
    """When every mapping is reconciled; a run changes neither database."""

    changed: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that compare what changed since the last equal run."""
    full: tuple[str, ...] = ()
    """Cron expressions, UTC, of runs that compare every row."""

    def __post_init__(self) -> None:
        for expression in (*self.changed, *self.full):
            Cron(expression)


@section
class Reconcile:
    """How `sink-runner run` compares rows that it has written with the source again."""

    sample_percent: Annotated[float, Minimum(0)] = 0.0
    """Share of the written rows that are compared, in per cent; 0: none."""

    def __post_init__(self) -> None:
        if self.sample_percent > _ALL_PERCENT:
            raise ValueError(f"sample_percent must be at most 100, got {self.sample_percent:g}")


@section
class Scheduling:
    """How `sink-runner schedule` starts batch runs: retries, limits, maintenance."""

    retries: WholeNumber = 3
    """Attempts after the first failure."""
    retry_minutes: Duration = 5.0
    """Time between two attempts."""
    late_minutes: Duration = 15.0
    """A start that is later than this is logged."""
    limit_minutes: float = 60.0
    """A run that takes longer than this, or than its schedule expects, is logged."""
    tolerated_rows: WholeNumber = 100
    """Rows of a run that may become dead letters before it counts as failed."""
    at_once: Count = 2
    """Batch runs at the same time, each with another target table."""
    maintenance: str = "0 2 * * SUN#1"
    """Start of the maintenance window, in which no batch run starts: a cron expression, UTC; "":
    none."""
    maintenance_minutes: Duration = 120.0
    """Length of the maintenance window; after it, each schedule that missed a time runs once."""
    mappings: Mapping[str, MappingSchedule] = field(default_factory=dict)
    """Mappings with other schedules than they declare; empty lists: no runs."""
    reconcile: ReconcileSchedule = field(default_factory=ReconcileSchedule)
    """Reconciliations, one at a time, beside the batch runs; without times, none run."""

    def __post_init__(self) -> None:
        if self.maintenance:
            Cron(self.maintenance)

    @property
    def window(self) -> Maintenance:
        """The maintenance window, in which no batch run starts."""
        return Maintenance(self.maintenance, timedelta(minutes=self.maintenance_minutes))


@section
class Schema:
    """Which changes of a source table pause its mapping."""

    strict: bool = True
    """A source column that may be personal and is not classified pauses its mapping; with false,
    it only logs a warning. Columns that a lookup reads must always be classified."""


@section
class Deferral:
    """How events whose lookup found nothing are deferred: the row may arrive later."""

    retry_seconds: Duration = 2.0
    """Interval of the retries."""
    give_up_hours: Duration = 24.0
    """Time after which deferred events become dead letters; rows of a batch run never do."""
    max_bytes: Count = DEFAULT_BYTES
    """Bytes of deferred events that are read and retried together; a single larger event is
    retried alone."""
