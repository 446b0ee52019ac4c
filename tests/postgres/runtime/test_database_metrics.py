"""Metrics that are read from the control tables and replication slots of a database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from sink_runner.config.database import Database
from sink_runner.config.dsn import Dsn
from sink_runner.config.sections import Scheduling
from sink_runner.model.status import Health
from sink_runner.plugin import Column, Schedule, TableMapping, newest_wins
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.runtime.database_metrics import DatabaseMetrics

pytestmark = pytest.mark.postgres

FILL = """
INSERT INTO sink.dead_letter (flow, topic, partition, "offset", error_class, error_message,
  stack_trace, source_data, key_id, plugin_version, status)
SELECT 'orders', 't', 0, n, class, '', '', '', 'k', '1', status
FROM (VALUES (1, 'MaskError', 'OPEN'), (2, 'MaskError', 'OPEN'), (3, 'WaitingError', 'PARKED'),
  (4, 'MaskError', 'REPLAYED')) AS v (n, class, status);
INSERT INTO sink.conflict (table_name, record_id, source_database, conflict_type,
  resolution_action, resolved_at, target_database)
VALUES ('orders', '1', 'north', 'data_conflict', 'source_wins', now(), 'citizen'),
  ('orders', '2', 'north', 'data_conflict', 'source_wins', now(), 'citizen'),
  ('orders', '3', 'north', 'deletion_conflict', 'manual_review', NULL, 'citizen');
INSERT INTO sink.quality_count (mapping, rule, column_name, day, rows)
VALUES ('orders', 'maximum', 'price', (now() AT TIME ZONE 'UTC')::date, 5),
  ('orders', 'maximum', 'price', (now() AT TIME ZONE 'UTC')::date - 1, 70);
INSERT INTO sink.batch_run (mapping, target, mode, started, finished, outcome, columns, cluster,
  seen_before, snapshot_at, position, sample_position, sample_before, counts)
SELECT 'orders', 't', mode, to_timestamp(started), to_timestamp(ended), outcome, 1, 'c', 1, now(),
  1, 1, 1, counts::jsonb
FROM (VALUES ('full', 100, 160, 'done', '{"read": 9, "failed": 1}'),
  ('full', 200, 230, 'done', '{"read": 4, "written": 3}'),
  ('from 2026-01-01 until now', 300, NULL, 'running', '{}')
) AS v (mode, started, ended, outcome, counts);
INSERT INTO sink.schedule (mapping, mode, cron, done_until, due, failures)
VALUES ('orders', 'full', '0 3 * * *', '2026-01-04 03:00Z', NULL, 2),
  ('orders', 'full', '30 4 * * *', '2026-01-03 04:30Z', NULL, 0),
  ('orders', 'full', '0 5 * * *', '2026-01-01 05:00Z', NULL, 3),
  ('orders', 'changed', '0 * * * *', '2026-01-04 01:00Z', NULL, 0),
  ('removed', 'full', '0 5 * * *', '2026-01-01 05:00Z', NULL, 3);
INSERT INTO sink.mapping_control (mapping, desired, reason, changed_by, changed_at)
VALUES ('orders', 'paused', 'upgrade', 'asha', to_timestamp(400)),
  ('parts', 'running', '', 'asha', to_timestamp(500));
"""
_MAPPING = TableMapping(
    source="north.public.orders",
    target="citizen.public.orders",
    key=("id",),
    conflict=newest_wins("changed_at"),
    columns=(Column("id"), Column("changed_at")),
    schedules=(
        Schedule("0 3 * * *", full=True),
        Schedule("30 4 * * *", full=True, expected_rows=500),
        Schedule("0 * * * *", expected=timedelta(minutes=10)),
    ),
    expected_per_day=2400,
)
_MAINTENANCE = Scheduling(maintenance="0 2 * * SUN#1", maintenance_minutes=120)


class MetricsHarness:
    """A target database, and the metrics that are read from it."""

    def __init__(self, postgres: Any) -> None:
        self.name = postgres.fresh_database(like="smart_citizen")
        self.health = Health()
        self.database = Database(
            dsn=Dsn.of(postgres.dsn(self.name, role="sink_writer")),
            reader_dsn=Dsn.of(postgres.dsn(self.name, role="sink_reader")),
        )
        self.metrics = DatabaseMetrics(
            {"citizen": self.database}, self.health, {"orders": _MAPPING}, _MAINTENANCE
        )
        self.admin = psycopg.connect(postgres.dsn(self.name), autocommit=True)

    def fill(self) -> None:
        with connect(self.database.dsn, "test") as connection:
            migrate(connection)
        self.admin.execute(FILL)

    def series(self, metric: str) -> dict[tuple[str, ...], float]:
        """Return the value of each series of a metric by its label values."""
        (family,) = (one for one in self.health.registry.collect() if one.name == metric)
        return {tuple(one.labels.values()): one.value for one in family.samples}


@pytest.fixture
def harness(postgres: Any) -> Iterator[MetricsHarness]:
    opened = MetricsHarness(postgres)
    yield opened
    opened.admin.close()


def test_control_tables_become_metrics(harness: MetricsHarness) -> None:
    harness.fill()
    with capture_logs() as logs:
        harness.metrics.observe()
    assert logs == []
    assert harness.series("sink_dead_letters_by_class") == {
        ("orders", "open", "MaskError"): 2,
        ("orders", "parked", "WaitingError"): 1,
    }
    assert harness.series("sink_conflicts") == {
        ("citizen", "orders", "data_conflict", "source_wins", "resolved"): 2,
        ("citizen", "orders", "deletion_conflict", "manual_review", "open"): 1,
    }
    assert harness.series("sink_quality_hits") == {("orders", "maximum", "price"): 5}
    assert harness.series("sink_operator_pause_start_timestamp_seconds") == {("orders",): 400}


def test_last_run_of_each_mode_is_exported(harness: MetricsHarness) -> None:
    harness.fill()
    harness.metrics.observe()
    full, between = ("orders", "full"), ("orders", "range")
    assert harness.series("sink_batch_run_start_timestamp_seconds") == {full: 200, between: 300}
    assert harness.series("sink_batch_run_end_timestamp_seconds") == {full: 230}
    assert harness.series("sink_batch_run_outcome") == {
        (*full, "done"): 1,
        (*between, "running"): 1,
    }
    assert harness.series("sink_batch_run_rows") == {(*full, "read"): 4, (*full, "written"): 3}


RECONCILIATIONS = """
INSERT INTO sink.reconcile_run (mapping, mode, finished, outcome, columns, cluster, seen_before,
  snapshot_at, counts)
SELECT mapping, mode, to_timestamp(ended), outcome, 1, 'c', 1, now(), counts::jsonb
FROM (VALUES ('orders', 'changed', 50, 'different', '{"read": 5, "missing": 5}'),
  ('orders', 'full', 100, 'different', '{"read": 9, "missing": 2, "repaired": 1}'),
  ('orders', 'changed', 200, 'equal', '{"read": 1}'),
  ('orders', 'changed', NULL, 'running', '{}'),
  ('parts', 'sample of 1 %', 250, 'different', '{"different": 3}'),
  ('items', 'sample of 1 %', 260, 'different', '{"different": 3}'),
  ('items', 'full', 270, 'equal', '{}')
) AS v (mapping, mode, ended, outcome, counts);
INSERT INTO sink.reconcile_state VALUES ('orders', to_timestamp(40), 1, 1, 'c', 1)
"""


def test_last_reconciliation_of_each_mode_is_exported(harness: MetricsHarness) -> None:
    """A full run replaces the results of all runs before it."""
    harness.fill()
    harness.admin.execute(RECONCILIATIONS)
    harness.metrics.observe()
    full, changed, partial, fixed = (
        ("orders", "full"),
        ("orders", "changed"),
        ("parts", "partial"),
        ("items", "full"),
    )
    ends = {full: 100, changed: 200, partial: 250, fixed: 270}
    assert harness.series("sink_reconcile_end_timestamp_seconds") == ends
    assert harness.series("sink_reconcile_outcome") == {
        (*full, "different"): 1,
        (*changed, "equal"): 1,
        (*partial, "different"): 1,
        (*fixed, "equal"): 1,
    }
    rows = harness.series("sink_reconcile_rows")
    assert {series: count for series, count in rows.items() if count} == {
        (*full, "read"): 9,
        (*full, "missing"): 2,
        (*full, "repaired"): 1,
        (*changed, "read"): 1,
        (*partial, "different"): 3,
    }
    assert rows[*fixed, "missing"] == 0
    assert harness.series("sink_verified_through_timestamp_seconds") == {("orders",): 40}


def test_only_current_schedules_are_due(harness: MetricsHarness) -> None:
    """The database keeps the schedules of removed mappings, and earlier times of the others."""
    harness.fill()
    harness.metrics.observe()
    full, changed = ("orders", "full"), ("orders", "changed")
    assert harness.series("sink_schedule_failures") == {full: 2, changed: 0}
    assert harness.series("sink_schedule_due_timestamp_seconds") == {
        full: datetime(2026, 1, 4, 4, 30, tzinfo=UTC).timestamp(),
        changed: datetime(2026, 1, 4, 4, tzinfo=UTC).timestamp(),  # the end of maintenance
    }


def test_declared_estimates_are_exported(harness: MetricsHarness) -> None:
    full, changed = ("orders", "full"), ("orders", "changed")
    assert harness.series("sink_expected_daily_events") == {("orders",): 2400}
    assert harness.series("sink_schedule_expected_rows") == {full: 500}
    assert harness.series("sink_schedule_expected_seconds") == {full: 3600, changed: 600}


def test_series_disappear_with_their_rows(harness: MetricsHarness) -> None:
    harness.fill()
    harness.metrics.observe()
    harness.admin.execute("UPDATE sink.dead_letter SET status = 'REPLAYED'")
    harness.metrics.observe()
    assert harness.series("sink_dead_letters_by_class") == {}


def test_database_without_own_tables_has_slots(harness: MetricsHarness) -> None:
    slot = f"slot_{harness.name}"[:63]
    create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
    harness.admin.execute(create, (slot,))
    try:
        harness.admin.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
        harness.metrics.observe()
        ours = ("citizen", slot)
        assert harness.series("sink_replication_slot_active") == {ours: 0}
        assert harness.series("sink_replication_slot_lag_bytes")[ours] >= 100_000
        assert harness.series("sink_replication_slot_wal_held_bytes")[ours] >= 100_000
        assert harness.series("sink_conflicts") == {}
    finally:
        harness.admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def test_unavailable_database_has_no_series(harness: MetricsHarness) -> None:
    harness.fill()
    harness.metrics.observe()
    unreachable = Dsn.of("host=127.0.0.1 port=1 dbname=none")
    unavailable = Database(dsn=unreachable, reader_dsn=unreachable)
    harness.metrics._databases = {"citizen": unavailable}
    with capture_logs() as logs:
        harness.metrics.observe()
        harness.metrics.observe()
    assert harness.series("sink_conflicts") == {}
    assert [line["event"] for line in logs] == ["metrics_read_failed"] * 2, (
        "expected one line for each role"
    )
