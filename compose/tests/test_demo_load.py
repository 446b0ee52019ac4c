"""The command that loads the demo data, on a PostgreSQL server."""

import re

import click
import psycopg
import pytest

from sink_stack import demo
from sink_stack.demo import actions
from sink_stack.testing_postgres import DATABASES, Postgres


@pytest.fixture
def empty(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Create empty databases and put them into the environment of the command."""
    dsns = {name: postgres.dsn(postgres.fresh_database(name)) for name in DATABASES}
    for name, dsn in dsns.items():
        monkeypatch.setenv(f"STACK_{name.upper()}_ADMIN_DSN", dsn)
    return dsns


def content(dsn: str) -> dict[str, str]:
    """Return a digest of each table, with its rows ordered by their text."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            """SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
               WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
        ).fetchall()
        digest = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {} t"
        return {
            table: connection.execute(digest.format(table).encode()).fetchall()[0][0]
            for (table,) in tables
        }


def run(*words: str) -> int:
    return int(demo.demo.main(words, standalone_mode=False))


@pytest.mark.postgres
def test_thousand_families_fill_every_source_table(
    empty: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("load") == 0
    completed = capsys.readouterr().out
    assert "1,000 families in" in completed
    with capsys.disabled():
        print(f"\n{completed.splitlines()[-1]}")
    assert run("status") == 0
    counted = dict(re.findall(r"^  (\S+) +([\d,]+)$", capsys.readouterr().out, re.MULTILINE))
    for dsn in empty.values():
        with psycopg.connect(dsn) as connection:
            published = connection.execute(
                "SELECT schemaname || '.' || tablename FROM pg_publication_tables"
            ).fetchall()
        captured = {table for (table,) in published} - {"cdc.heartbeat", "cdc.debezium_signal"}
        assert all(counted[table] != "0" for table in captured)


@pytest.mark.postgres
def test_same_seed_and_time_load_equal_databases(
    postgres: Postgres, empty: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("load", "--families", "60", "--as-of", "2026-01-31T12:00:00")
    assert run(*words) == 0
    first = {name: content(dsn) for name, dsn in empty.items()}
    for name in DATABASES:
        dsn = postgres.dsn(postgres.fresh_database(name))
        monkeypatch.setenv(f"STACK_{name.upper()}_ADMIN_DSN", dsn)
        empty[name] = dsn
    assert run(*words) == 0
    assert {name: content(dsn) for name, dsn in empty.items()} == first


@pytest.mark.postgres
def test_second_load_is_refused_or_skipped(
    empty: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("load", "--families", "5") == 0
    before = {name: content(dsn) for name, dsn in empty.items()}
    assert run("load", "--families", "5") == 1
    assert "data is in smart_warehouse and smart_citizen already" in capsys.readouterr().err
    assert run("load", "--families", "5", "--if-empty") == 0
    assert {name: content(dsn) for name, dsn in empty.items()} == before


@pytest.mark.postgres
def test_failed_load_leaves_both_databases_empty(
    empty: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(empty["smart_citizen"]) as admin:
        admin.execute("ALTER TABLE feedback ADD CHECK (message NOT LIKE 'It takes%')")
    before = {name: content(dsn) for name, dsn in empty.items()}
    assert run("load", "--families", "200") == 1
    completed = capsys.readouterr().err
    assert "CheckViolation (23514) on feedback" in completed
    assert "It takes" not in completed
    assert {name: content(dsn) for name, dsn in empty.items()} == before


@pytest.mark.postgres
def test_new_rows_after_load_get_unused_numbers(empty: dict[str, str]) -> None:
    assert run("load", "--families", "20") == 0
    with psycopg.connect(empty["smart_warehouse"]) as admin:
        admin.execute("INSERT INTO districts (district_code, district_name) VALUES ('X', 'X')")
        admin.execute(
            "INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES ('X', 'X', 'X')"
        )
    with psycopg.connect(empty["smart_citizen"]) as admin:
        serial = admin.execute(
            """INSERT INTO service_applications (citizen_id, service_type)
               SELECT id, 'X' FROM citizens LIMIT 1 RETURNING right(application_number, 6)::int"""
        ).fetchall()[0][0]
    assert serial > 20 * 16


def test_missing_variable_of_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STACK_SMART_CITIZEN_ADMIN_DSN", raising=False)
    monkeypatch.setenv("STACK_SMART_WAREHOUSE_ADMIN_DSN", "postgresql://127.0.0.1:1/none")
    assert run("status") == actions.EX_CONFIG
    assert "STACK_SMART_CITIZEN_ADMIN_DSN must be set" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [("--families", "0"), ("--families", "many"), ("--as-of", "noon"), ("--scale", "huge")],
)
def test_invalid_options_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError):
        run("load", *words)
