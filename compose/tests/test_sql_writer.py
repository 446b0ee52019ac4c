"""Privileges of the runner's writer role in both databases, on a PostgreSQL server."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from sink_stack import testing_postgres
from sink_stack.testing_postgres import Postgres, Role
from sink_stack.testing_sessions import Sessions, denied

pytestmark = pytest.mark.postgres

WAREHOUSE, CITIZEN = "smart_warehouse", "smart_citizen"


@pytest.fixture(scope="module")
def databases(postgres: Postgres) -> Sessions:
    return Sessions(postgres)


@pytest.fixture
def session(databases: Sessions) -> Iterator[Sessions]:
    with databases.rolled_back():
        yield databases


# Writer


@pytest.mark.parametrize(
    ("database", "relation", "readable"),
    [
        (CITIZEN, "citizens", set()),
        (CITIZEN, "citizen_identity_map", set()),
        (CITIZEN, "service_applications", {"id"}),
        (CITIZEN, "feedback", set()),
        (WAREHOUSE, "districts", set()),
        (WAREHOUSE, "district_alias", set()),
        (WAREHOUSE, "scheme_master", set()),
    ],
)
def test_writer_may_not_read_lookup_tables(
    session: Sessions, database: str, relation: str, readable: set[str]
) -> None:
    assert session.columns(database, "sink_writer", "SELECT", relation) == readable


@pytest.mark.parametrize(
    "relation",
    ["citizens", "service_applications", "documents", "feedback", "citizen_identity_map"],
)
def test_writer_may_not_write_tables_of_portal(session: Sessions, relation: str) -> None:
    connection = session(CITIZEN, "sink_writer")
    for privilege in ("INSERT", "UPDATE"):
        assert session.columns(CITIZEN, "sink_writer", privilege, relation) == set()
    assert denied(connection, f"DELETE FROM {relation}")


@pytest.mark.parametrize(
    "relation",
    [
        "profile_360",
        "eligibility.eligibility_snapshots",
        "forecast.benefit_forecasts",
        "decision.applications",
        "alerts.ml_alert_outbox",
    ],
)
def test_writer_may_not_write_other_warehouse_tables(session: Sessions, relation: str) -> None:
    for privilege in ("SELECT", "INSERT", "UPDATE"):
        assert session.columns(WAREHOUSE, "sink_writer", privilege, relation) == set()
    assert not session.tables(WAREHOUSE, "sink_writer", "DELETE") & {relation}


def test_writer_may_not_write_hindi_texts_and_dates(session: Sessions) -> None:
    connection = session(CITIZEN, "sink_writer")
    theirs = {"name_hindi", "description_hindi", "start_date", "end_date"}
    for privilege in ("INSERT", "UPDATE"):
        assert not session.columns(CITIZEN, "sink_writer", privilege, "schemes") & theirs
    assert not session.columns(CITIZEN, "sink_writer", "UPDATE", "schemes") & {"id", "code"}
    assert denied(connection, "UPDATE schemes SET name_hindi = 'x'")


def test_writer_may_not_update_key_of_golden_record(session: Sessions) -> None:
    allowed = session.columns(WAREHOUSE, "sink_writer", "UPDATE", "golden_records")
    assert not allowed & {"gr_id", "family_id", "citizen_id", "jan_aadhaar", "status", "updated_at"}
    assert {"full_name", "district_id", "source_updated_at", "review_required"} <= allowed


@pytest.mark.parametrize(
    ("database", "allowed"),
    [
        (
            WAREHOUSE,
            {"analytics.user_behavior"},
        ),
        (
            CITIZEN,
            {
                "profile_data",
                "profile_summary",
                "eligibility_hints",
                "benefit_forecasts",
                "application_decisions",
            },
        ),
    ],
)
def test_writer_may_delete_only_in_targets_of_flows(
    session: Sessions, database: str, allowed: set[str]
) -> None:
    assert session.tables(database, "sink_writer", "DELETE") == allowed
    assert session.tables(database, "sink_writer", "TRUNCATE") == set()


# The statements of a flow, run as the writer: staged in a temporary table, then merged.


def test_writer_can_stage_and_merge_golden_records(session: Sessions) -> None:
    connection = session(WAREHOUSE, "sink_writer")
    connection.execute(
        """CREATE TEMPORARY TABLE stage ON COMMIT DROP AS
           SELECT jan_aadhaar, full_name, source_updated_at FROM golden_records WITH NO DATA"""
    )
    merge = """INSERT INTO golden_records AS t (jan_aadhaar, full_name, source_updated_at)
               SELECT * FROM stage ON CONFLICT (jan_aadhaar) DO UPDATE
               SET full_name = excluded.full_name, source_updated_at = excluded.source_updated_at
               WHERE t.source_updated_at IS NULL
                  OR excluded.source_updated_at > t.source_updated_at"""
    for name, time in (("A", "2026-01-01"), ("B", "2026-01-02"), ("C", "2025-01-01")):
        connection.execute("DELETE FROM stage")
        connection.execute("INSERT INTO stage VALUES ('000000000001', %s, %s)", (name, time))
        connection.execute(merge.encode())
    row = connection.execute("SELECT full_name FROM golden_records WHERE jan_aadhaar LIKE '0%'")
    assert row.fetchall() == [("B",)]


def test_writer_can_merge_each_portal_target(session: Sessions) -> None:
    connection = session(CITIZEN, "sink_writer")
    family = uuid4()
    connection.execute(
        "INSERT INTO profile_summary VALUES (%s, 'HIGH', true, 'CONFIDENTIAL', 'c', now(), now())",
        (family,),
    )
    connection.execute("SELECT 1 FROM profile_summary WHERE family_id = %s FOR UPDATE", (family,))
    for _ in range(2):
        connection.execute(
            """INSERT INTO eligibility_hints VALUES (%s, 'NREGA', 'RULE_ELIGIBLE', 1, 1, 'x', now())
               ON CONFLICT (family_id, scheme_code)
               DO UPDATE SET explanation = excluded.explanation""",
            (family,),
        )
        connection.execute(
            """INSERT INTO schemes (id, code, name, last_updated) VALUES (%s, 'NREGA', 'n', now())
               ON CONFLICT (code) DO UPDATE SET name = excluded.name""",
            (uuid4(),),
        )
    connection.execute("DELETE FROM eligibility_hints WHERE family_id = %s", (family,))


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_writer_owns_schema_and_stages_in_temporary_tables(
    session: Sessions, database: str
) -> None:
    connection = session(database, "sink_writer")
    connection.execute("CREATE TABLE sink.partition_offset (position bigint)")
    connection.execute("CREATE TEMPORARY TABLE stage (LIKE sink.partition_offset)")
    assert denied(session(database, "sink_reader"), "SELECT * FROM sink.partition_offset")


def check_origin(dsn: str) -> None:
    """Write through a replication origin, as the runner does."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_replication_origin_create('sink/test/0')")
        connection.execute("SELECT pg_replication_origin_session_setup('sink/test/0')")
        connection.commit()
        connection.execute("SELECT pg_replication_origin_xact_setup('0/ABCD', now())")
        connection.execute("CREATE TABLE sink.marked ()")
        connection.commit()
        row = connection.execute(
            """SELECT pg_replication_origin_session_is_setup(),
                      pg_replication_origin_oid('sink/test/0') IS NOT NULL,
                      pg_replication_origin_session_progress(false)::text,
                      pg_replication_origin_progress('sink/test/0', false)::text"""
        )
        assert row.fetchone() == (True, True, "0/ABCD", "0/ABCD")
        connection.execute("SELECT pg_replication_origin_session_reset()")


def check_origin_is_exclusive(dsn: str) -> None:
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second:
        first.execute("SELECT pg_replication_origin_session_setup('sink/test/0')")
        with pytest.raises(errors.ObjectInUse):
            second.execute("SELECT pg_replication_origin_session_setup('sink/test/0')")


def test_one_session_holds_replication_origin_of_writer(
    postgres: Postgres,
) -> None:
    dsn = postgres.dsn(postgres.fresh_database(CITIZEN), "sink_writer")
    check_origin(dsn)
    check_origin_is_exclusive(dsn)


@pytest.mark.parametrize("programs", testing_postgres.installed(os.environ)[1:], ids=str)
def test_sql_and_origins_work_on_other_postgresql_versions(
    programs: Path,
) -> None:
    with testing_postgres.running(programs) as other:
        for database in (WAREHOUSE, CITIZEN):
            with psycopg.connect(other.dsn(database)) as admin:
                row = admin.execute("SELECT count(*) FROM pg_publication_tables").fetchone()
                assert row is not None
                assert row[0] > 0
        check_origin(other.dsn(WAREHOUSE, "sink_writer"))


@pytest.mark.parametrize("role", ["sink_capture", "sink_reader"])
def test_only_the_writer_may_use_an_origin(session: Sessions, role: Role) -> None:
    assert denied(session(CITIZEN, role), "SELECT pg_replication_origin_create('mine')")
