"""Metrics of what other processes leave in the databases: batch runs, conflicts, slots and more.

They are read at an interval and not at a scrape, so that a slow database delays no scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from ..config.database import Database
from ..config.dsn import Dsn
from ..config.sections import Scheduling
from ..error_text import describe
from ..model.gauge_table import GaugeTable
from ..model.status import Health
from ..model.timetable import Cron
from ..plugin import TableMapping
from ..postgres.migrations import has_tables
from ..postgres.session import Connection, connect
from ..schedule.plans import plans_of
from .periodic import Outages

SECONDS = 15.0
_STATEMENT_SECONDS = 5.0
# The mode of a run with --since or --until contains these times: one label stands for all.
_RUNS = """
SELECT DISTINCT ON (mapping, kind) mapping, kind, extract(epoch FROM started),
  extract(epoch FROM finished), outcome, counts
FROM sink.batch_run, LATERAL (
  SELECT CASE WHEN mode IN ('full', 'changed') THEN mode ELSE 'range' END) AS modes (kind)
ORDER BY mapping, kind, run DESC
"""
# A run with --since or --sample is partial.  A full run replaces the results before it, because it
# compares all that they did.
_RECONCILIATIONS = """
WITH result AS (
  SELECT *, CASE WHEN mode IN ('full', 'changed') THEN mode ELSE 'partial' END AS kind
  FROM sink.reconcile_run WHERE outcome IN ('equal', 'different', 'undecided')
)
SELECT DISTINCT ON (mapping, kind) mapping, kind, extract(epoch FROM finished), outcome, counts
FROM result r
WHERE run >= ALL (SELECT run FROM result f WHERE f.mapping = r.mapping AND f.kind = 'full')
ORDER BY mapping, kind, run DESC
"""
_RECONCILED = ("read", "missing", "extra", "different", "refused", "pending", "waiting", "repaired")
_SLOTS = """
SELECT %(database)s::text, slot_name, active::int, pg_wal_lsn_diff(now, confirmed_flush_lsn),
  pg_wal_lsn_diff(now, restart_lsn)
FROM pg_replication_slots, LATERAL (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
) AS log (now)
WHERE database = current_database() AND slot_type = 'logical' AND NOT temporary
"""


Row = Sequence[Any]
Compute = Callable[[Iterable[Row]], Iterable[Row]]
"""Computes the series of a gauge from the rows of a query."""


class Query(NamedTuple):
    """A query and the gauges that are computed from its rows.

    A series without a number, which is the last column, is left out.
    """

    sql: str
    gauges: Sequence[tuple[GaugeTable, Compute]]


def columns(*places: int) -> Compute:
    """Return a function that takes these columns of each row."""
    return lambda rows: ([row[place] for place in places] for row in rows)


class Schedules:
    """Computes series from the stored schedules, of those that a mapping still declares.

    The database also keeps schedules that no mapping declares any more.
    """

    SELECT = "SELECT mapping, mode, cron, done_until, failures FROM sink.schedule"

    def __init__(self, mappings: Mapping[str, TableMapping], settings: Scheduling) -> None:
        plans = [plan for plan in plans_of(mappings, settings) if not plan.reconciles]
        self._current = {(plan.mapping, plan.mode, plan.cron.expression) for plan in plans}
        self._maintenance = settings.window

    def due(self, rows: Iterable[Row]) -> Iterable[Row]:
        """Return when the next run of each schedule is due: in the past if it is late."""
        due: dict[tuple[str, str], float] = {}
        for mapping, mode, cron, done_until, _ in self._select(rows):
            time = self._maintenance.shift(Cron(cron).after(done_until)).timestamp()
            due[mapping, mode] = min(time, due.get((mapping, mode), time))
        return [(*labels, time) for labels, time in due.items()]

    def failures(self, rows: Iterable[Row]) -> Iterable[Row]:
        failures: dict[tuple[str, str], int] = {}
        for mapping, mode, _, _, count in self._select(rows):
            failures[mapping, mode] = max(count, failures.get((mapping, mode), 0))
        return [(*labels, count) for labels, count in failures.items()]

    def _select(self, rows: Iterable[Row]) -> Iterable[Row]:
        return (row for row in rows if tuple(row[:3]) in self._current)


def report_estimates(health: Health, mappings: Mapping[str, TableMapping]) -> None:
    """Set the gauges of the volume and duration that mappings declare as usual."""
    events = health.gauge_table(
        "sink_expected_daily_events", "Events of a usual day, as declared.", ("mapping",)
    )
    rows = health.gauge_table(
        "sink_schedule_expected_rows",
        "Rows that a usual scheduled batch run reads, as declared.",
        ("mapping", "mode"),
    )
    seconds = health.gauge_table(
        "sink_schedule_expected_seconds",
        "Duration of a usual scheduled batch run, as declared.",
        ("mapping", "mode"),
    )
    schedules = {
        (name, "full" if one.full else "changed"): one
        for name, mapping in mappings.items()
        for one in mapping.schedules
    }
    per_day = {name: one.expected_per_day for name, one in mappings.items()}
    events.report("", [(name, count) for name, count in per_day.items() if count])
    rows.report(
        "", [(*of, one.expected_rows) for of, one in schedules.items() if one.expected_rows]
    )
    seconds.report("", [(*of, one.expected.total_seconds()) for of, one in schedules.items()])


def target_queries(health: Health, schedules: Schedules) -> Sequence[Query]:
    """Return what is read of a database that mappings write to."""
    by_class = health.gauge_table(
        "sink_dead_letters_by_class",
        "Dead letters and deferred events by the class of their error.",
        ("mapping", "status", "error_class"),
    )
    conflicts = health.gauge_table(
        "sink_conflicts",
        "Recorded conflicts; the action is how each was or will be resolved.",
        ("database", "table", "type", "action", "status"),
    )
    hits = health.gauge_table(
        "sink_quality_hits",
        "Rows since midnight UTC that broke a rule, or were given a default.",
        ("mapping", "rule", "column"),
    )
    pauses = health.gauge_table(
        "sink_operator_pause_start_timestamp_seconds",
        "When a person paused the mapping; absent while none has.",
        ("mapping",),
    )
    return (
        Query(
            "SELECT mapping, extract(epoch FROM changed_at) FROM sink.mapping_control "
            "WHERE desired = 'paused'",
            ((pauses, iter),),
        ),
        Query(
            "SELECT flow, lower(status), error_class, count(*) FROM sink.dead_letter "
            "WHERE status IN ('OPEN', 'PARKED') GROUP BY 1, 2, 3",
            ((by_class, iter),),
        ),
        Query(
            "SELECT target_database, table_name, conflict_type, coalesce(resolution_action, ''), "
            "CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END, count(*) "
            "FROM sink.conflict GROUP BY 1, 2, 3, 4, 5",
            ((conflicts, iter),),
        ),
        Query(
            "SELECT mapping, rule, column_name, rows FROM sink.quality_count "
            "WHERE day = (now() AT TIME ZONE 'UTC')::date",
            ((hits, iter),),
        ),
        _batch_runs(health),
        _schedules(health, schedules),
        *_reconciliations(health),
    )


def _batch_runs(health: Health) -> Query:
    start = health.gauge_table(
        "sink_batch_run_start_timestamp_seconds",
        "When the last batch run started.",
        ("mapping", "mode"),
    )
    end = health.gauge_table(
        "sink_batch_run_end_timestamp_seconds",
        "When the last batch run ended; absent while it runs.",
        ("mapping", "mode"),
    )
    outcome = health.gauge_table(
        "sink_batch_run_outcome",
        "1 for the outcome of the last batch run: running, done, interrupted, abandoned.",
        ("mapping", "mode", "outcome"),
    )
    counts = health.gauge_table(
        "sink_batch_run_rows",
        "Rows of the last batch run, by what its report counts.",
        ("mapping", "mode", "count"),
    )
    return Query(
        _RUNS,
        (
            (start, columns(0, 1, 2)),
            (end, columns(0, 1, 3)),
            (outcome, lambda rows: ([*row[:2], row[4], 1] for row in rows)),
            (counts, lambda rows: ([*row[:2], *count] for row in rows for count in row[5].items())),
        ),
    )


def _schedules(health: Health, schedules: Schedules) -> Query:
    due = health.gauge_table(
        "sink_schedule_due_timestamp_seconds",
        "When the next scheduled batch run is due; in the past if it has not ended.",
        ("mapping", "mode"),
    )
    failures = health.gauge_table(
        "sink_schedule_failures",
        "Failures in a row of a scheduled batch run.",
        ("mapping", "mode"),
    )
    return Query(Schedules.SELECT, ((due, schedules.due), (failures, schedules.failures)))


def _reconciliations(health: Health) -> Iterator[Query]:
    end = health.gauge_table(
        "sink_reconcile_end_timestamp_seconds",
        "When the last reconciliation that had a result ended.",
        ("mapping", "mode"),
    )
    outcome = health.gauge_table(
        "sink_reconcile_outcome",
        "1 for the outcome of the last reconciliation: equal, different, undecided.",
        ("mapping", "mode", "outcome"),
    )
    found = health.gauge_table(
        "sink_reconcile_rows",
        "Rows of the last reconciliation, by what its report counts; a repaired row counts twice.",
        ("mapping", "mode", "count"),
    )
    verified = health.gauge_table(
        "sink_verified_through_timestamp_seconds",
        "The target has all changes of the source before this time, as reconciliation found.",
        ("mapping",),
    )
    yield Query(
        _RECONCILIATIONS,
        (
            (end, columns(0, 1, 2)),
            (outcome, lambda rows: ([*row[:2], row[3], 1] for row in rows)),
            (
                found,
                lambda rows: (
                    [*row[:2], count, row[4].get(count, 0)] for row in rows for count in _RECONCILED
                ),
            ),
        ),
    )
    yield Query(
        "SELECT mapping, extract(epoch FROM verified_through) FROM sink.reconcile_state",
        ((verified, iter),),
    )


def source_queries(health: Health) -> Sequence[Query]:
    """Return what is read of a database whose log is captured."""
    active = health.gauge_table(
        "sink_replication_slot_active",
        "1 while a client reads the slot.",
        ("database", "slot"),
    )
    lag = health.gauge_table(
        "sink_replication_slot_lag_bytes",
        "WAL that the slot's client has not confirmed.",
        ("database", "slot"),
    )
    held = health.gauge_table(
        "sink_replication_slot_wal_held_bytes",
        "WAL that the server keeps because of the slot.",
        ("database", "slot"),
    )
    gauges = (active, columns(0, 1, 2)), (lag, columns(0, 1, 3)), (held, columns(0, 1, 4))
    return (Query(_SLOTS, gauges),)


class DatabaseMetrics:
    """Reads the metrics of all configured databases."""

    def __init__(
        self,
        databases: Mapping[str, Database],
        health: Health,
        mappings: Mapping[str, TableMapping],
        scheduling: Scheduling,
    ) -> None:
        report_estimates(health, mappings)
        self._databases = databases
        self._target = target_queries(health, Schedules(mappings, scheduling))
        self._source = source_queries(health)
        self._log = structlog.get_logger()
        self._outages = Outages()

    def observe(self) -> None:
        """Read all metrics once; log a database that cannot be read, and drop its series."""
        for name, database in self._databases.items():
            self._read(name, database.dsn, self._target, has_tables)
            self._read(name, database.reader_dsn, self._source, lambda _: True)

    def _read(
        self, name: str, dsn: Dsn, queries: Sequence[Query], check: Callable[[Connection], bool]
    ) -> None:
        reason, found = "", [list[Row]() for _ in queries]
        try:
            with connect(dsn, "sink-runner metrics", _STATEMENT_SECONDS) as connection:
                if check(connection):
                    found = [_rows(connection, query, name) for query in queries]
        except Exception as fault:  # noqa: BLE001 - missing metrics must not stop the runner
            reason = describe(fault)
        for query, rows in zip(queries, found, strict=True):
            for gauge, compute in query.gauges:
                gauge.report(name, [row for row in compute(rows) if row[-1] is not None])
        if self._outages.begins((name, queries), reason):
            self._log.warning("metrics_read_failed", database=name, reason=reason)


def _rows(connection: Connection, query: Query, database: str) -> list[Row]:
    return list(connection.execute(query.sql.encode(), {"database": database}).fetchall())
