"""Migrations: they create the runner's tables, upgrade older layouts, and refuse unknown ones."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sink_runner.errors import ConfigError
from sink_runner.postgres import migrations
from sink_runner.postgres.migrations import has_tables
from sink_runner.postgres.session import connect

LAYOUTS = Path(__file__).parent / "layouts"
COMPOSE = Path(__file__).parents[3] / "compose" / "sql" / "common"
NUMBERS = [one.number for one in migrations.migrations()]
# Rows of an older runner, with each variant of every value that the migrations rename or swap.
ROWS = r"""
INSERT INTO sync_dlq (flow, topic, partition, "offset", error_class, error_message, stack_trace,
  source_data, key_id, plugin_version, status)
SELECT 'orders', 't', 0, n, 'c', 'm', 's', '\x01', 'k', '1', status
FROM unnest(ARRAY['OPEN', 'PARKED', 'DISCARDED']) WITH ORDINALITY AS s (status, n);
INSERT INTO cdc_audit_log (event_type, source_system, target_system, table_name, operation,
  details)
VALUES ('mask', 'warehouse', 'citizen', 'public.t', 'DELETE', '{"mapping": "orders"}');
INSERT INTO cdc_conflict_resolution (table_name, record_id, source_system, conflict_type,
  warehouse_value, citizen_value, resolution_action) VALUES
  ('t', '1', 'warehouse', 'data_conflict', '{"side": "w"}', '{"side": "c"}', 'warehouse_wins'),
  ('t', '2', 'warehouse', 'data_conflict', '{"side": "w"}', '{"side": "c"}', 'citizen_wins'),
  ('t', '3', 'citizen', 'data_conflict', '{"side": "w"}', '{"side": "c"}', 'citizen_wins'),
  ('t', '4', 'citizen', 'deletion_conflict', NULL, NULL, NULL);
INSERT INTO sync_watermark VALUES ('orders', '2026-01-01');
INSERT INTO sink.partition_offset (mapping, cluster_id, topic, topic_id, partition, next_offset,
  owner) VALUES ('orders', 'c', 't', 'i', 0, 42, 'o');
INSERT INTO sink.row_version (mapping, key, position, deleted_at) VALUES ('orders', 'k', 7, now());
CREATE TABLE sink.candidates_orders (id int PRIMARY KEY, _position bigint NOT NULL);
ALTER TABLE sink.candidates_orders OWNER TO sink_writer;
INSERT INTO sink.candidates_orders VALUES (1, 5);
"""
CATALOG = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'sink'::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE 'candidates%'
ORDER BY 1, 2
"""
INDEXES = """
SELECT indexdef FROM pg_indexes WHERE schemaname = 'sink' AND tablename NOT LIKE 'candidates%'
UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'sink'::regnamespace AND contype IN ('c', 'p')
  AND conrelid::regclass::text NOT LIKE '%candidates%' ORDER BY 1
"""
PRIVILEGES = """
SELECT relname, relacl::text FROM pg_class
WHERE oid IN ('sink.audit_log'::regclass, 'sink.conflict'::regclass) ORDER BY 1
"""


class EmptyDatabase:
    """A new database without tables, with a session of the administrator."""

    def __init__(self, postgres: Any, name: str) -> None:
        self.dsn = postgres.dsn(name, "sink_writer")
        self.admin = psycopg.connect(postgres.dsn(name), autocommit=True)

    def run(self, *parts: str | Path) -> None:
        for part in parts:
            self.admin.execute(part.read_bytes() if isinstance(part, Path) else part.encode())

    def rows(self, query: str) -> list[tuple]:
        return self.admin.execute(query.encode()).fetchall()

    def migrate(self) -> list[int]:
        with connect(self.dsn, "test") as connection:
            return [one.number for one in migrations.migrate(connection)]

    def error(self, work: Callable[[psycopg.Connection], Any] = migrations.migrate) -> str:
        with connect(self.dsn, "test") as connection, pytest.raises(ConfigError) as caught:
            work(connection)
        return str(caught.value)


@pytest.fixture
def bare(postgres, request) -> Iterator[EmptyDatabase]:
    name = f"bare_{abs(hash(request.node.name))}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    database = EmptyDatabase(postgres, name)
    yield database
    database.admin.close()


@pytest.fixture
def database(bare: EmptyDatabase) -> EmptyDatabase:
    bare.run("CREATE SCHEMA sink AUTHORIZATION sink_writer")
    return bare


def run_suggested_statements(database: EmptyDatabase) -> None:
    """Run the ALTER TABLE statements of the error, as an administrator would."""
    database.run(
        *[line for line in database.error().splitlines() if line.startswith("  ALTER TABLE")]
    )


def test_empty_database_gets_every_migration_once(database: EmptyDatabase) -> None:
    assert database.migrate() == NUMBERS
    assert database.migrate() == []
    applied = database.rows(
        "SELECT number, version, checksum ~ '^[0-9a-f]{64}$' FROM sink.migration"
    )
    assert applied == [(number, "1.0", True) for number in NUMBERS]


def test_concurrent_programs_apply_each_migration_once(database: EmptyDatabase) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [one.result() for one in [pool.submit(database.migrate) for _ in range(4)]]
    assert sorted(number for numbers in done for number in numbers) == NUMBERS


def test_missing_schema_error_has_create_statement(bare: EmptyDatabase) -> None:
    assert 'CREATE SCHEMA sink AUTHORIZATION "sink_writer"' in bare.error()


def test_statements_use_role_of_session(database: EmptyDatabase) -> None:
    """The DSN or ALTER ROLE may set another role than the login; that role must own the tables."""
    database.run(LAYOUTS / "8f27f6d.sql")
    login = make_conninfo(database.admin.info.dsn, password=database.admin.info.password)
    database.dsn = make_conninfo(login, options="-c role=sink_writer")
    run_suggested_statements(database)
    assert database.migrate() == NUMBERS
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'sink'"
    assert database.rows(owners) == [("sink_writer",)]


@pytest.mark.parametrize("layout", ["8f27f6d", "3610236"])
class TestOlderLayouts:
    @pytest.fixture
    def old(self, database: EmptyDatabase, layout: str) -> EmptyDatabase:
        database.run(LAYOUTS / f"{layout}.sql", ROWS)
        return database

    def test_older_rows_are_kept(self, old: EmptyDatabase) -> None:
        run_suggested_statements(old)
        assert old.migrate() == NUMBERS
        dead_letters = (
            "SELECT flow, \"offset\", status, source_data = '\\x01' FROM sink.dead_letter"
        )
        statuses = enumerate(["OPEN", "PARKED", "DISCARDED"], 1)
        assert old.rows(dead_letters) == [
            ("orders", n, status, None if status == "DISCARDED" else True) for n, status in statuses
        ]
        audit_log = "SELECT source_database, target_database, operation FROM sink.audit_log"
        assert old.rows(audit_log) == [("warehouse", "citizen", "DELETE")]
        conflicts = """SELECT record_id, source_database, target_database, source_value->>'side',
                       target_value->>'side', resolution_action FROM sink.conflict ORDER BY 1"""
        assert old.rows(conflicts) == [
            ("1", "warehouse", "citizen", "w", "c", "source_wins"),
            ("2", "warehouse", "citizen", "w", "c", "target_wins"),
            ("3", "citizen", "warehouse", "c", "w", "source_wins"),
            ("4", "citizen", "warehouse", None, None, None),
        ]
        offsets = "SELECT next_offset, leader_epoch FROM sink.partition_offset"
        assert old.rows(offsets) == [(42, -1)]
        assert old.rows("SELECT position, ordinal FROM sink.row_version") == [(7, 0)]
        assert old.rows("SELECT * FROM sink.candidates_orders") == [(1, 5, 0)]

    def test_upgraded_layout_equals_new_layout(self, old: EmptyDatabase, postgres) -> None:
        run_suggested_statements(old)
        old.migrate()
        fresh = EmptyDatabase(postgres, postgres.fresh_database("smart_citizen", migrated=False))
        fresh.migrate()
        for query in (CATALOG, INDEXES, PRIVILEGES):
            assert old.rows(query) == fresh.rows(query)
        fresh.admin.close()

    def test_tables_of_another_owner_are_refused(self, old: EmptyDatabase) -> None:
        error = old.error()
        assert "role sink_writer does not own tables of an older version" in error
        assert error.count("SET SCHEMA sink") == 3
        assert old.rows("SELECT to_regclass('sink.migration')") == [(None,)]
        assert len(old.rows("SELECT FROM public.sync_dlq")) == 3

    def test_commands_refuse_older_tables(self, old: EmptyDatabase) -> None:
        assert "run `sink-runner migrate`" in old.error(has_tables)

    def test_id_sequence_continues(self, old: EmptyDatabase) -> None:
        run_suggested_statements(old)
        old.migrate()
        with connect(old.dsn, "test") as writer:
            number = writer.execute(
                """INSERT INTO sink.dead_letter (flow, error_class, error_message, stack_trace,
                   source_data, key_id, plugin_version, status)
                   VALUES (repeat('f', 200), 'c', 'm', 's', '', 'k', '1', 'SUPERSEDED')
                   RETURNING dlq_id"""
            ).fetchone()
        assert number == (4,)


def test_newer_layout_is_refused(database: EmptyDatabase) -> None:
    database.migrate()
    database.run("INSERT INTO sink.migration VALUES (99, 'later', 'x', '7.1')")
    for work in (migrations.migrate, has_tables):
        error = database.error(work)
        assert "migration 99 (later), made by sink-runner 7.1; this is version 1.0" in error
        assert "a downgrade is not possible" in error


def test_changed_file_is_refused(database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    database.migrate()
    first, *others = migrations.migrations()
    changed = [replace(first, sql=first.sql + b"\n"), *others]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)
    assert "another migration 1 (tables) than this program" in database.error()


@pytest.mark.parametrize(
    ("ddl", "column"),
    [
        ("CREATE TABLE sink.truncation (mapping text, lsn int)", "sink.truncation.lsn"),
        ("CREATE TABLE sink.schedule (mapping text, at timestamptz)", "sink.schedule.cron"),
        ("CREATE TABLE sink.sync_dlq (id bigserial PRIMARY KEY)", "flow"),
    ],
)  # fmt: skip
def test_unknown_layout_error_names_column(database: EmptyDatabase, ddl: str, column: str) -> None:
    database.run("SET ROLE sink_writer", ddl, "RESET ROLE")
    error = database.error()
    assert column in error
    assert "not of a version that can be upgraded" in error


def test_failed_migration_is_rolled_back(
    database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = migrations.Migration(99, "broken", b"CREATE TABLE sink.half (); SELECT * FROM missing")
    monkeypatch.setattr(migrations, "migrations", lambda: [broken])
    assert "migration 99 (broken) fails" in database.error()
    assert database.rows("SELECT to_regclass('sink.half')") == [(None,)]


def test_source_database_has_no_tables(bare: EmptyDatabase) -> None:
    with connect(bare.dsn, "test") as connection:
        assert not has_tables(connection)


# -- the names of the specification ----------------------------------------------------------------

SPECIFIED_VIEWS = {
    "cdc_conflict_resolution": "conflict_id table_name record_id source_system conflict_type "
    "warehouse_value citizen_value detected_at resolved_by resolved_at resolution_action "
    "resolution_notes",
    "cdc_audit_log": "audit_id event_type source_system target_system table_name record_id "
    "operation masked_fields timestamp user_id details",
    "sync_processed_event": "flow event_id processed_at",
    "sync_watermark": "flow last_synced_at",
    "sync_dlq": "dlq_id flow topic partition offset event_key_hash error_class sqlstate "
    "error_message stack_trace source_data key_id plugin_version attempts status created_at",
}


@pytest.fixture
def upgraded(database: EmptyDatabase) -> EmptyDatabase:
    """An upgraded database with the views of the specification, created twice."""
    database.run(LAYOUTS / "3610236.sql", ROWS)
    run_suggested_statements(database)
    database.migrate()
    database.run(COMPOSE / "80-specification.sql", COMPOSE / "80-specification.sql")
    return database


@pytest.mark.parametrize(("view", "columns"), SPECIFIED_VIEWS.items())
def test_specified_name_has_its_columns(upgraded: EmptyDatabase, view: str, columns: str) -> None:
    found = upgraded.admin.execute(f"SELECT * FROM public.{view}".encode())
    assert [column.name for column in found.description] == columns.split()


def test_views_show_rows_of_older_tables(upgraded: EmptyDatabase) -> None:
    found = """SELECT record_id, source_system, warehouse_value->>'side', citizen_value->>'side',
               resolution_action FROM cdc_conflict_resolution ORDER BY 1"""
    assert upgraded.rows(found) == [
        ("1", "warehouse", "w", "c", "warehouse_wins"),
        ("2", "warehouse", "w", "c", "citizen_wins"),
        ("3", "citizen", "w", "c", "citizen_wins"),
        ("4", "citizen", None, None, None),
    ]
    assert len(upgraded.rows("SELECT FROM sync_dlq WHERE status = 'PARKED'")) == 1
    assert upgraded.rows("SELECT * FROM sync_processed_event")[0][:2] == ("orders", "t/0/41")


def test_views_use_the_tables_indexes(upgraded: EmptyDatabase) -> None:
    """PostgreSQL inlines the function of the view, so a query does not read every row."""
    upgraded.run("SET enable_seqscan = off")
    plan = str(upgraded.rows("EXPLAIN SELECT * FROM sync_dlq WHERE dlq_id = 2"))
    assert "Index Scan using dead_letter_pkey" in plan


def test_views_translate_new_names(upgraded: EmptyDatabase) -> None:
    upgraded.run(
        """INSERT INTO sink.conflict (table_name, record_id, source_database, target_database,
           conflict_type, source_value, resolution_action) VALUES ('t', '9', 'smart_citizen',
           'smart_warehouse', 'data_conflict', '{"side": "c"}', 'target_wins')"""
    )
    found = """SELECT source_system, citizen_value->>'side', resolution_action
               FROM cdc_conflict_resolution WHERE record_id = '9'"""
    assert upgraded.rows(found) == [("citizen", "c", "warehouse_wins")]


def test_conflict_can_be_resolved_in_its_view(upgraded: EmptyDatabase) -> None:
    upgraded.run(
        """UPDATE cdc_conflict_resolution SET resolved_by = 'asha', resolved_at = now(),
           resolution_action = 'warehouse_wins', resolution_notes = 'called', record_id = 'x'
           WHERE record_id = '4'"""
    )
    found = """SELECT resolved_by, resolution_action, resolution_notes, resolved_at IS NOT NULL
               FROM sink.conflict WHERE record_id = '4'"""
    assert upgraded.rows(found) == [("asha", "target_wins", "called", True)]


@pytest.mark.parametrize("view", ["sync_dlq", "cdc_audit_log", "sync_watermark"])
def test_other_views_are_read_only(upgraded: EmptyDatabase, view: str) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        upgraded.run(f"DELETE FROM {view}")
