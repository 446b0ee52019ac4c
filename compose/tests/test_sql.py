"""Privileges of the roles, triggers and checks in both databases, on a PostgreSQL server."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors, sql

from sink_stack import layout
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


# Roles


def test_no_role_is_superuser_or_creates_roles(session: Sessions) -> None:
    rows = session(WAREHOUSE, "admin").execute(
        """SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication,
                  rolcanlogin FROM pg_roles WHERE rolname LIKE 'sink%' ORDER BY rolname"""
    )
    assert rows.fetchall() == [
        ("sink_capture", False, False, False, False, True, True),
        ("sink_reader", False, False, False, False, False, True),
        ("sink_writer", False, False, False, False, False, True),
    ]


def test_cluster_sql_revokes_extra_rights_when_rerun(postgres: Postgres) -> None:
    script = (layout.find(os.environ).sql / "cluster.sql").read_bytes()
    with psycopg.connect(postgres.dsn("postgres")) as admin:
        admin.execute("ALTER ROLE sink_writer CREATEDB")
        admin.execute(script)
        row = admin.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = 'sink_writer'")
        assert row.fetchone() == (False,)
        admin.rollback()


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
@pytest.mark.parametrize("role", ["sink_capture", "sink_writer", "sink_reader"])
def test_no_role_may_create_in_public(session: Sessions, database: str, role: Role) -> None:
    connection = session(database, role)
    connection.execute("SET default_transaction_read_only = off")
    connection.commit()
    assert denied(connection, "CREATE TABLE public.mine (id int)")


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_other_role_may_not_connect(postgres: Postgres, databases: Sessions, database: str) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        try:
            own = databases.dsn(database, "admin")
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(own, user="stranger", password="stranger")
        finally:
            admin.execute("DROP ROLE stranger")


# Capture


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_capture_reads_published_tables_only(session: Sessions, database: str) -> None:
    connection = session(database, "sink_capture")
    published = connection.execute(
        """SELECT format('%I.%I', schemaname, tablename)::regclass::text
           FROM pg_publication_tables WHERE pubname = 'sink_publication'"""
    )
    assert session.tables(database, "sink_capture", "SELECT") == {row[0] for row in published}


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_capture_writes_heartbeat_and_signals_only(session: Sessions, database: str) -> None:
    connection = session(database, "sink_capture")
    writable = {
        "INSERT": {"cdc.heartbeat", "cdc.debezium_signal"},
        "UPDATE": {"cdc.heartbeat"},
        "DELETE": {"cdc.debezium_signal"},
        "TRUNCATE": set(),
    }
    for privilege, tables in writable.items():
        assert session.tables(database, "sink_capture", privilege) == tables
    beat = """INSERT INTO cdc.heartbeat VALUES (1, now())
              ON CONFLICT (id) DO UPDATE SET at = excluded.at"""
    for _ in range(2):
        connection.execute(beat)


@pytest.mark.parametrize(
    ("database", "full", "default"),
    [
        (
            WAREHOUSE,
            {
                "golden_records",
                "profile_360",
                "scheme_master",
                "eligibility.eligibility_snapshots",
                "forecast.benefit_forecasts",
                "decision.applications",
            },
            {"alerts.ml_alert_outbox", "cdc.heartbeat", "cdc.debezium_signal"},
        ),
        (
            CITIZEN,
            {"citizens", "service_applications", "feedback", "user_behavior_events"},
            {"documents", "cdc.heartbeat", "cdc.debezium_signal"},
        ),
    ],
)
def test_published_tables_carry_before_image_if_needed(
    session: Sessions, database: str, full: set[str], default: set[str]
) -> None:
    rows = session(database, "admin").execute(
        """SELECT c.oid::regclass::text, c.relreplident FROM pg_publication_rel r
           JOIN pg_class c ON c.oid = r.prrelid"""
    )
    identity: dict[str, str] = dict(rows.fetchall())
    assert {name for name, kind in identity.items() if kind == "f"} == full
    assert {name for name, kind in identity.items() if kind == "d"} == default


# Reader


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_reader_writes_nothing(session: Sessions, database: str) -> None:
    connection = session(database, "sink_reader")
    for privilege in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
        assert session.tables(database, "sink_reader", privilege) == set()
    with pytest.raises(errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TEMPORARY TABLE mine (id int)")


@pytest.mark.parametrize(
    ("database", "relation", "hidden"),
    [
        (WAREHOUSE, "profile_360", {"profile_data", "income_band_confidence", "risk_flags"}),
        (WAREHOUSE, "golden_records", {"caste_id", "review_reason"}),
        (CITIZEN, "citizens", {"address_line1", "address_line2"}),
        (CITIZEN, "documents", {"file_path", "file_hash", "verification_notes"}),
        (CITIZEN, "user_behavior_events", {"properties"}),
        (CITIZEN, "service_applications", {"application_data", "description", "subject"}),
        (CITIZEN, "feedback", {"resolution", "subject"}),
    ],
)
def test_reader_may_not_read_internal_columns(
    session: Sessions, database: str, relation: str, hidden: set[str]
) -> None:
    readable = session.columns(database, "sink_reader", "SELECT", relation)
    assert readable
    assert not readable & hidden


@pytest.mark.parametrize(
    ("database", "lookup"),
    [
        (CITIZEN, "SELECT id, application_number FROM service_applications"),
        (
            CITIZEN,
            """SELECT m.family_id, m.gr_id, m.warehouse_citizen_id, c.id, c.created_at
               FROM citizen_identity_map m JOIN citizens c ON c.id = m.citizen_id
               WHERE m.is_family_head OR upper(c.verification_status) = 'VERIFIED'""",
        ),
        (WAREHOUSE, "SELECT alias_norm, district_id FROM district_alias"),
        (WAREHOUSE, "SELECT district_name, district_id FROM districts"),
        (CITIZEN, "SELECT id, code FROM schemes"),
        (CITIZEN, "SELECT id, aadhaar_number FROM citizens"),
        (WAREHOUSE, "SELECT jan_aadhaar, citizen_id FROM golden_records"),
        (WAREHOUSE, "SELECT scheme_code FROM scheme_master"),
        (
            CITIZEN,
            """SELECT f.id, s.code FROM feedback f
               JOIN service_applications a ON a.id = f.application_id
               JOIN schemes s ON s.id = a.scheme_id""",
        ),
    ],
    ids=str,
)
def test_reader_may_run_lookups_of_flows(
    session: Sessions, database: str, lookup: LiteralString
) -> None:
    session(database, "sink_reader").execute(lookup)


def test_reader_reads_the_view_under_the_specification_name(session: Sessions) -> None:
    session(WAREHOUSE, "sink_reader").execute("SELECT * FROM eligibility.scheme_master")


# Triggers and checks


def insert_citizen(connection: psycopg.Connection) -> object:
    row = connection.execute(
        """INSERT INTO citizens (full_name, mobile_number, updated_at)
           VALUES ('A', '0000000000', '2020-01-01') RETURNING id"""
    ).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("database", "relation", "insert"),
    [
        (WAREHOUSE, "golden_records", "INSERT INTO golden_records (full_name) VALUES ('A')"),
        (
            WAREHOUSE,
            "decision.applications",
            """INSERT INTO decision.applications (application_id, decision)
               VALUES (gen_random_uuid(), 'AUTO_APPROVE')""",
        ),
        (
            CITIZEN,
            "citizens",
            "INSERT INTO citizens (full_name, mobile_number) VALUES ('A', '0000000000')",
        ),
        (
            CITIZEN,
            "documents",
            "INSERT INTO documents (document_type, file_path) VALUES ('T', '/t')",
        ),
        (CITIZEN, "feedback", "INSERT INTO feedback (type, message) VALUES ('RATING', 'm')"),
    ],
)
def test_update_sets_time_of_transaction(
    session: Sessions, database: str, relation: str, insert: LiteralString
) -> None:
    connection = session(database, "admin")
    connection.execute("SET LOCAL timezone = 'Asia/Kolkata'")
    connection.execute(insert.encode())
    table = sql.SQL(relation)  # a constant of this file
    connection.execute(sql.SQL("UPDATE {} SET updated_at = '2020-01-01'").format(table))
    stored = connection.execute(
        sql.SQL("SELECT updated_at = now() AT TIME ZONE 'UTC' FROM {}").format(table)
    )
    assert stored.fetchall() == [(True,)]


def test_trigger_keeps_time_set_by_portal(session: Sessions) -> None:
    connection = session(WAREHOUSE, "sink_writer")
    connection.execute("INSERT INTO golden_records (full_name) VALUES ('A')")
    connection.execute("UPDATE golden_records SET source_updated_at = '2020-01-01'")
    row = connection.execute("SELECT source_updated_at, updated_at FROM golden_records").fetchone()
    assert row is not None
    assert str(row[0]) == "2020-01-01 00:00:00"
    assert abs(row[1].replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=5)


def test_application_gets_number_unless_it_has_one(
    session: Sessions,
) -> None:
    connection = session(CITIZEN, "admin")
    citizen = insert_citizen(connection)
    insert = """INSERT INTO service_applications (citizen_id, service_type, application_number)
                VALUES (%s, 'SCHEME', %s) RETURNING application_number"""
    numbers = [
        connection.execute(insert, (citizen, given)).fetchall()[0][0]
        for given in (None, "APP-OWN", "")
    ]
    today = f"{datetime.now(UTC):%Y%m%d}"
    assert numbers == [f"APP-{today}-000001", "APP-OWN", f"APP-{today}-000002"]


def test_application_number_beyond_six_digits_is_not_cut(session: Sessions) -> None:
    connection = session(CITIZEN, "admin")
    citizen = insert_citizen(connection)
    connection.execute("ALTER SEQUENCE application_number_seq RESTART WITH 1234567")
    number = connection.execute(
        """INSERT INTO service_applications (citizen_id, service_type) VALUES (%s, 'SCHEME')
           RETURNING application_number""",
        (citizen,),
    ).fetchone()
    assert number is not None
    assert number[0].endswith("-1234567")


@pytest.mark.parametrize(
    ("column", "masked", "plain"),
    [
        ("jan_aadhaar", "****-****-1234", "000000001234"),
        ("mobile_number", "******3210", "0123453210"),
        ("email", "a***@example.in", "asha@example.in"),
    ],
)
def test_portal_refuses_unmasked_value(
    session: Sessions, column: str, masked: str, plain: str
) -> None:
    connection = session(CITIZEN, "sink_writer")
    insert = sql.SQL(
        "INSERT INTO profile_data (record_id, family_id, source_updated_at, {}) "
        "VALUES (gen_random_uuid(), gen_random_uuid(), now(), %s)"
    ).format(sql.Identifier(column))
    connection.execute(insert, (masked,))
    with pytest.raises(errors.CheckViolation):
        connection.execute(insert, (plain,))


def test_portal_refuses_income_band(session: Sessions) -> None:
    connection = session(CITIZEN, "sink_writer")
    with pytest.raises(errors.CheckViolation):
        connection.execute(
            """INSERT INTO profile_summary (family_id, income_category, source_updated_at)
               VALUES (gen_random_uuid(), 'LOW', now())"""
        )


@pytest.mark.parametrize("database", [WAREHOUSE, CITIZEN])
def test_default_timestamp_is_in_utc(session: Sessions, database: str) -> None:
    row = session(database, "admin").execute("SHOW timezone").fetchone()
    assert row == ("UTC",)
