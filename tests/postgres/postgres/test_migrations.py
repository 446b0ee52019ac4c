"""The runner's tables: made in a bare database, upgraded from older layouts, or refused."""

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
SHIPPED = [one.number for one in migrations.migrations()]
# As an older runner left them: of both kinds of everything that is renamed or turned around.
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
RIGHTS = """
SELECT relname, relacl::text FROM pg_class
WHERE oid IN ('sink.audit_log'::regclass, 'sink.conflict'::regclass) ORDER BY 1
"""


class Place:
    """A database that only CREATE DATABASE has touched, with an administrator's session."""

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

    def refusal(self, work: Callable[[psycopg.Connection], Any] = migrations.migrate) -> str:
        with connect(self.dsn, "test") as connection, pytest.raises(ConfigError) as refused:
            work(connection)
        return str(refused.value)


@pytest.fixture
def bare(postgres, request) -> Iterator[Place]:
    name = f"bare_{abs(hash(request.node.name))}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    place = Place(postgres, name)
    yield place
    place.admin.close()


@pytest.fixture
def place(bare: Place) -> Place:
    bare.run("CREATE SCHEMA sink AUTHORIZATION sink_writer")
    return bare


def moved(place: Place) -> None:
    """Paste what the refusal says."""
    place.run(*[line for line in place.refusal().splitlines() if line.startswith("  ALTER TABLE")])


def test_bare_database_gets_every_table_once(place: Place) -> None:
    assert place.migrate() == SHIPPED
    assert place.migrate() == []
    applied = place.rows("SELECT number, version, checksum ~ '^[0-9a-f]{64}$' FROM sink.migration")
    assert applied == [(number, "1.0", True) for number in SHIPPED]


def test_programs_that_start_together_apply_each_once(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [one.result() for one in [pool.submit(place.migrate) for _ in range(4)]]
    assert sorted(number for numbers in done for number in numbers) == SHIPPED


def test_missing_schema_is_named_with_its_statement(bare: Place) -> None:
    assert 'CREATE SCHEMA sink AUTHORIZATION "sink_writer"' in bare.refusal()


def test_statements_are_for_the_role_of_the_session(place: Place) -> None:
    """It may be set by the DSN or by ALTER ROLE: what the login owns is no use to it."""
    place.run(LAYOUTS / "8f27f6d.sql")
    login = make_conninfo(place.admin.info.dsn, password=place.admin.info.password)
    place.dsn = make_conninfo(login, options="-c role=sink_writer")
    moved(place)
    assert place.migrate() == SHIPPED
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'sink'"
    assert place.rows(owners) == [("sink_writer",)]


@pytest.mark.parametrize("layout", ["8f27f6d", "3610236"])
class TestOlderLayouts:
    @pytest.fixture
    def old(self, place: Place, layout: str) -> Place:
        place.run(LAYOUTS / f"{layout}.sql", ROWS)
        return place

    def test_their_rows_are_kept(self, old: Place) -> None:
        moved(old)
        assert old.migrate() == SHIPPED
        dead_letters = (
            "SELECT flow, \"offset\", status, source_data = '\\x01' FROM sink.dead_letter"
        )
        statuses = enumerate(["OPEN", "PARKED", "DISCARDED"], 1)
        assert old.rows(dead_letters) == [
            ("orders", n, status, None if status == "DISCARDED" else True) for n, status in statuses
        ]
        audited = "SELECT source_database, target_database, operation FROM sink.audit_log"
        assert old.rows(audited) == [("warehouse", "citizen", "DELETE")]
        conflicts = """SELECT record_id, source_database, target_database, source_value->>'side',
                       target_value->>'side', resolution_action FROM sink.conflict ORDER BY 1"""
        assert old.rows(conflicts) == [
            ("1", "warehouse", "citizen", "w", "c", "source_wins"),
            ("2", "warehouse", "citizen", "w", "c", "target_wins"),
            ("3", "citizen", "warehouse", "c", "w", "source_wins"),
            ("4", "citizen", "warehouse", None, None, None),
        ]
        kept = "SELECT next_offset, leader_epoch FROM sink.partition_offset"
        assert old.rows(kept) == [(42, -1)]
        assert old.rows("SELECT position, ordinal FROM sink.row_version") == [(7, 0)]
        assert old.rows("SELECT * FROM sink.candidates_orders") == [(1, 5, 0)]

    def test_they_become_the_layout_of_new_databases(self, old: Place, postgres) -> None:
        moved(old)
        old.migrate()
        fresh = Place(postgres, postgres.fresh_database("smart_citizen"))
        fresh.migrate()
        for query in (CATALOG, INDEXES, RIGHTS):
            assert old.rows(query) == fresh.rows(query)
        fresh.admin.close()

    def test_tables_of_another_owner_are_refused(self, old: Place) -> None:
        told = old.refusal()
        assert "role sink_writer does not own tables of an older version" in told
        assert told.count("SET SCHEMA sink") == 3
        assert old.rows("SELECT to_regclass('sink.migration')") == [(None,)]
        assert len(old.rows("SELECT FROM public.sync_dlq")) == 3

    def test_commands_do_not_read_them(self, old: Place) -> None:
        assert "run `sink-runner migrate`" in old.refusal(has_tables)

    def test_numbers_go_on(self, old: Place) -> None:
        moved(old)
        old.migrate()
        with connect(old.dsn, "test") as writer:
            number = writer.execute(
                """INSERT INTO sink.dead_letter (flow, error_class, error_message, stack_trace,
                   source_data, key_id, plugin_version, status)
                   VALUES (repeat('f', 200), 'c', 'm', 's', '', 'k', '1', 'SUPERSEDED')
                   RETURNING dlq_id"""
            ).fetchone()
        assert number == (4,)


def test_newer_layout_is_refused(place: Place) -> None:
    place.migrate()
    place.run("INSERT INTO sink.migration VALUES (99, 'later', 'x', '7.1')")
    for work in (migrations.migrate, has_tables):
        told = place.refusal(work)
        assert "migration 99 (later), made by sink-runner 7.1; this is version 1.0" in told
        assert "a downgrade is not possible" in told


def test_changed_file_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.migrate()
    first, *others = migrations.migrations()
    changed = [replace(first, sql=first.sql + b"\n"), *others]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)
    assert "another migration 1 (tables) than this program" in place.refusal()


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE sink.truncation (mapping text, lsn int)", "sink.truncation.lsn"),
        ("CREATE TABLE sink.schedule (mapping text, at timestamptz)", "sink.schedule.cron"),
        ("CREATE TABLE sink.sync_dlq (id bigserial PRIMARY KEY)", "flow"),
    ],
)  # fmt: skip
def test_unknown_layout_is_refused_by_its_columns(place: Place, made: str, named: str) -> None:
    place.run("SET ROLE sink_writer", made, "RESET ROLE")
    told = place.refusal()
    assert named in told
    assert "not of a version that can be upgraded" in told


def test_failed_migration_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = migrations.Migration(99, "broken", b"CREATE TABLE sink.half (); SELECT * FROM missing")
    monkeypatch.setattr(migrations, "migrations", lambda: [broken])
    assert "migration 99 (broken) fails" in place.refusal()
    assert place.rows("SELECT to_regclass('sink.half')") == [(None,)]


def test_source_alone_has_no_tables(bare: Place) -> None:
    with connect(bare.dsn, "test") as connection:
        assert not has_tables(connection)


# -- the names of the specification ----------------------------------------------------------------

SPECIFIED = {
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
def upgraded(place: Place) -> Place:
    """The views beside what an older version left."""
    place.run(LAYOUTS / "3610236.sql", ROWS)
    moved(place)
    place.migrate()
    place.run(COMPOSE / "80-specification.sql", COMPOSE / "80-specification.sql")
    return place


@pytest.mark.parametrize(("view", "columns"), SPECIFIED.items())
def test_specified_name_has_its_columns(upgraded: Place, view: str, columns: str) -> None:
    found = upgraded.admin.execute(f"SELECT * FROM public.{view}".encode())
    assert [column.name for column in found.description] == columns.split()


def test_views_tell_what_older_tables_told(upgraded: Place) -> None:
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


def test_views_use_the_tables_indexes(upgraded: Place) -> None:
    """The function of a view is inlined: its rows are not all read first."""
    upgraded.run("SET enable_seqscan = off")
    plan = str(upgraded.rows("EXPLAIN SELECT * FROM sync_dlq WHERE dlq_id = 2"))
    assert "Index Scan using dead_letter_pkey" in plan


def test_new_names_are_told_as_specification_has_them(upgraded: Place) -> None:
    upgraded.run(
        """INSERT INTO sink.conflict (table_name, record_id, source_database, target_database,
           conflict_type, source_value, resolution_action) VALUES ('t', '9', 'smart_citizen',
           'smart_warehouse', 'data_conflict', '{"side": "c"}', 'target_wins')"""
    )
    found = """SELECT source_system, citizen_value->>'side', resolution_action
               FROM cdc_conflict_resolution WHERE record_id = '9'"""
    assert upgraded.rows(found) == [("citizen", "c", "warehouse_wins")]


def test_person_resolves_a_conflict_in_its_view(upgraded: Place) -> None:
    upgraded.run(
        """UPDATE cdc_conflict_resolution SET resolved_by = 'asha', resolved_at = now(),
           resolution_action = 'warehouse_wins', resolution_notes = 'called', record_id = 'x'
           WHERE record_id = '4'"""
    )
    found = """SELECT resolved_by, resolution_action, resolution_notes, resolved_at IS NOT NULL
               FROM sink.conflict WHERE record_id = '4'"""
    assert upgraded.rows(found) == [("asha", "target_wins", "called", True)]


@pytest.mark.parametrize("view", ["sync_dlq", "cdc_audit_log", "sync_watermark"])
def test_other_views_are_read_only(upgraded: Place, view: str) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        upgraded.run(f"DELETE FROM {view}")
