"""The metrics that are read from the databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
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
"""
_MAPPING = TableMapping(
    source="north.public.orders",
    target="citizen.public.orders",
    key=("id",),
    conflict=newest_wins("changed_at"),
    columns=(Column("id"), Column("changed_at")),
    schedules=(
        Schedule("0 3 * * *", full=True),
        Schedule("30 4 * * *", full=True),
        Schedule("0 * * * *"),
    ),
)
_MAINTENANCE = Scheduling(maintenance="0 2 * * SUN#1", maintenance_minutes=120)


class Scene:
    """A target database with something in every table, and its metrics."""

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
        """The series of a metric by the values of their labels."""
        (family,) = (one for one in self.health.registry.collect() if one.name == metric)
        return {tuple(one.labels.values()): one.value for one in family.samples}


@pytest.fixture
def scene(postgres: Any) -> Iterator[Scene]:
    made = Scene(postgres)
    yield made
    made.admin.close()


def test_control_tables_become_metrics(scene: Scene) -> None:
    scene.fill()
    with capture_logs() as logs:
        scene.metrics.observe()
    assert logs == []
    assert scene.series("sink_dead_letters_by_class") == {
        ("orders", "open", "MaskError"): 2,
        ("orders", "parked", "WaitingError"): 1,
    }
    assert scene.series("sink_conflicts") == {
        ("citizen", "orders", "data_conflict", "source_wins", "resolved"): 2,
        ("citizen", "orders", "deletion_conflict", "manual_review", "open"): 1,
    }
    assert scene.series("sink_quality_hits") == {("orders", "maximum", "price"): 5}


def test_last_run_of_each_mode_counts(scene: Scene) -> None:
    scene.fill()
    scene.metrics.observe()
    full, between = ("orders", "full"), ("orders", "range")
    assert scene.series("sink_batch_run_start_timestamp_seconds") == {full: 200, between: 300}
    assert scene.series("sink_batch_run_end_timestamp_seconds") == {full: 230}
    assert scene.series("sink_batch_run_outcome") == {(*full, "done"): 1, (*between, "running"): 1}
    assert scene.series("sink_batch_run_rows") == {(*full, "read"): 4, (*full, "written"): 3}


def test_only_current_schedules_are_due(scene: Scene) -> None:
    """The database keeps the schedules of removed mappings, and earlier times of the others."""
    scene.fill()
    scene.metrics.observe()
    full, changed = ("orders", "full"), ("orders", "changed")
    assert scene.series("sink_schedule_failures") == {full: 2, changed: 0}
    assert scene.series("sink_schedule_due_timestamp_seconds") == {
        full: datetime(2026, 1, 4, 4, 30, tzinfo=UTC).timestamp(),
        changed: datetime(2026, 1, 4, 4, tzinfo=UTC).timestamp(),  # maintenance ends
    }


def test_series_go_with_their_rows(scene: Scene) -> None:
    scene.fill()
    scene.metrics.observe()
    scene.admin.execute("UPDATE sink.dead_letter SET status = 'REPLAYED'")
    scene.metrics.observe()
    assert scene.series("sink_dead_letters_by_class") == {}


def test_database_without_own_tables_has_slots(scene: Scene) -> None:
    slot = f"slot_{scene.name}"[:63]
    create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
    scene.admin.execute(create, (slot,))
    try:
        scene.admin.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
        scene.metrics.observe()
        ours = ("citizen", slot)
        assert scene.series("sink_replication_slot_active") == {ours: 0}
        assert scene.series("sink_replication_slot_lag_bytes")[ours] >= 100_000
        assert scene.series("sink_replication_slot_wal_held_bytes")[ours] >= 100_000
        assert scene.series("sink_conflicts") == {}
    finally:
        scene.admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def test_database_that_is_away_has_no_series(scene: Scene) -> None:
    scene.fill()
    scene.metrics.observe()
    nowhere = Dsn.of("host=127.0.0.1 port=1 dbname=none")
    away = Database(dsn=nowhere, reader_dsn=nowhere)
    scene.metrics._databases = {"citizen": away}
    with capture_logs() as logs:
        scene.metrics.observe()
        scene.metrics.observe()
    assert scene.series("sink_conflicts") == {}
    assert [line["event"] for line in logs] == ["metrics_read_failed"] * 2, "each role once"
