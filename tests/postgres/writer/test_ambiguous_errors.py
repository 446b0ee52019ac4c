"""SQLSTATEs that mean a data error or a configuration error, each raised by PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from sink_runner.errors import ConfigError, RetriableError, TimedOutError
from sink_runner.postgres.error_classes import classify_error
from sink_runner.writer.committer import Committer

from .conftest import CommitterHarness

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, v text"


@pytest.fixture
def harness(written: Callable[..., Any]) -> Iterator[CommitterHarness]:
    harness = CommitterHarness(written, DDL)
    yield harness
    harness.close()


def trigger(harness: CommitterHarness, body: str) -> None:
    """Add a BEFORE trigger that runs `body` for each written row."""
    schema, table = harness.target.table.table.schema, harness.target.table.sql_name
    harness.target.scratch.admin.execute(
        f"""
        CREATE FUNCTION {schema}.checked() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {body} RETURN NEW; END $$;
        CREATE TRIGGER checked BEFORE INSERT OR UPDATE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {schema}.checked();
        """.encode()
    )


def assert_bad_row_rejected(harness: CommitterHarness) -> None:
    """Assert that only the row 'bad' becomes a dead letter."""
    assert harness.apply(harness.batch("ok", "bad", "ok")) == 2
    assert (harness.ids(), harness.dead_letters()) == ([0, 2], [1])


def assert_configuration_error(harness: CommitterHarness, match: str) -> None:
    """Assert that the batch is a configuration error, without rows or dead letters."""
    with pytest.raises(ConfigError, match=match) as caught:
        harness.apply(harness.batch("ok", "bad", "ok"))
    assert "'ok'" not in str(caught.value)
    assert harness.is_unchanged()


@pytest.mark.parametrize("state", ["P0001", "42501", "55000", "0A000", "42883", "22023", "XX000"])
@pytest.mark.parametrize("count", [1, 3])
def test_raise_for_one_row_is_data_error(harness: CommitterHarness, state: str, count: int) -> None:
    trigger(
        harness, f"IF NEW.v = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF;"
    )
    values = ["bad"] if count == 1 else ["ok", "bad", "ok"]
    harness.apply(harness.batch(*values))
    assert len(harness.dead_letters()) == 1


@pytest.mark.parametrize("state", ["40001", "40P01", "53100", "57P03"])
def test_raise_with_retriable_state_is_transient(harness: CommitterHarness, state: str) -> None:
    trigger(harness, f"RAISE EXCEPTION 'later' USING ERRCODE = '{state}';")
    with pytest.raises(RetriableError, match=state):
        harness.apply(harness.batch("ok"))
    assert harness.is_unchanged()


def test_lock_timeout_in_trigger_is_timeout(harness: CommitterHarness) -> None:
    trigger(harness, "RAISE EXCEPTION 'locked' USING ERRCODE = '55P03';")
    with pytest.raises(TimedOutError):
        harness.apply(harness.batch("ok"))


ROW_DEPENDENT = {
    "42P01": "EXECUTE format('SELECT 1 FROM %I', 'pg_class' || replace(NEW.v, 'ok', ''));",
    "42703": "EXECUTE format('SELECT %I FROM (SELECT 1 AS ok) s', NEW.v);",
    "42883": "EXECUTE format('SELECT %I(1)', CASE NEW.v WHEN 'bad' THEN NEW.v ELSE 'abs' END);",
    "42601": "EXECUTE CASE NEW.v WHEN 'bad' THEN 'SELEC' ELSE 'SELECT 1' END;",
    "3F000": "EXECUTE format('CREATE TEMP VIEW w%s AS SELECT 1', NEW.id); "
    "IF NEW.v = 'bad' THEN CREATE TABLE missing.t (); END IF;",
    "0A000": "EXECUTE CASE NEW.v WHEN 'bad' THEN 'COMMIT' ELSE 'SELECT 1' END;",
    "22012": "PERFORM 1 / (CASE NEW.v WHEN 'bad' THEN 0 ELSE 1 END);",
    "21000": "PERFORM (SELECT g FROM generate_series(1, CASE NEW.v WHEN 'bad' THEN 2 END) g);",
    "P0002": "DECLARE x int; BEGIN SELECT 1 INTO STRICT x WHERE NEW.v <> 'bad'; END;",
    "54001": "IF NEW.v = 'bad' THEN PERFORM ('[' || repeat('[', 100000))::json; END IF;",
    "22P02": "IF NEW.v = 'bad' THEN PERFORM NEW.v::int; END IF;",
}


@pytest.mark.parametrize("state", ROW_DEPENDENT)
def test_trigger_error_for_one_row_is_data_error(harness: CommitterHarness, state: str) -> None:
    trigger(harness, ROW_DEPENDENT[state])
    assert_bad_row_rejected(harness)
    assert harness.sql(
        f"SELECT sqlstate FROM sink.dead_letter WHERE topic = '{harness.topic}'"
    ) == [(state,)]


FOR_EVERY_ROW = {
    "42P01": "INSERT INTO missing_table VALUES (1);",
    "42703": "NEW.gone := 1;",
    "42883": "PERFORM missing_function(NEW.id);",
    "42501": "PERFORM 1 FROM pg_authid;",
    "3F000": "CREATE TABLE missing.t ();",
}


@pytest.mark.parametrize("state", FOR_EVERY_ROW)
def test_trigger_error_for_every_row_is_configuration_error(
    harness: CommitterHarness, state: str
) -> None:
    trigger(harness, FOR_EVERY_ROW[state])
    assert_configuration_error(harness, state)
    with pytest.raises(ConfigError, match=state):
        harness.apply(harness.batch("ok"))


def test_missing_privilege_in_trigger_names_table(harness: CommitterHarness) -> None:
    trigger(harness, FOR_EVERY_ROW["42501"])
    assert_configuration_error(
        harness, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE pg_authid TO sink_writer"
    )


@pytest.mark.parametrize("how", ["WITH CHECK (v <> 'bad')", "USING (true) WITH CHECK (v <> 'bad')"])
def test_row_security_policy_is_data_error(harness: CommitterHarness, how: str) -> None:
    table = harness.target.table.sql_name
    command = "FOR INSERT" if how.startswith("WITH") else "FOR ALL"
    harness.target.scratch.admin.execute(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY seen ON {table} FOR SELECT USING (true);
        CREATE POLICY changed ON {table} FOR UPDATE USING (true);
        CREATE POLICY decent ON {table} {command} TO sink_writer {how};
        """.encode()
    )
    assert_bad_row_rejected(harness)


def test_row_without_partition_is_data_error(harness: CommitterHarness) -> None:
    table = harness.target.table.sql_name
    harness.target.scratch.admin.execute(
        f"""
        DROP TABLE {table};
        CREATE TABLE {table} (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
        CREATE TABLE {table[:-1]}_first" PARTITION OF {table} FOR VALUES FROM (0) TO (2);
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO sink_writer;
        """.encode()
    )
    batch = harness.batch("a", "b", "c")
    assert harness.apply(batch) == 2
    (dead_letter,) = batch.dead_letters
    assert "(no partition of t for this row)" in str(dead_letter.error)


def test_view_check_option_is_data_error(harness: CommitterHarness) -> None:
    schema, table = harness.target.table.table.schema, harness.target.table.sql_name
    harness.target.scratch.admin.execute(f"ALTER TABLE {table} RENAME TO base".encode())
    harness.target.scratch.admin.execute(
        f"""
        CREATE VIEW {table} AS SELECT id, v FROM {schema}.base WHERE v <> 'bad' WITH CHECK OPTION;
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO sink_writer;
        """.encode()
    )
    assert_bad_row_rejected(harness)


def test_domain_check_is_data_error(harness: CommitterHarness) -> None:
    schema, table = harness.target.table.table.schema, harness.target.table.sql_name
    harness.target.scratch.admin.execute(
        f"""
        CREATE DOMAIN {schema}.decent AS text CHECK (VALUE <> 'bad');
        ALTER TABLE {table} ALTER v TYPE {schema}.decent;
        """.encode()
    )
    assert_bad_row_rejected(harness)


def test_deferrable_arbiter_is_configuration_error(harness: CommitterHarness) -> None:
    table = harness.target.table.sql_name
    harness.target.scratch.admin.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT t_pkey, ADD UNIQUE (id) DEFERRABLE".encode()
    )
    assert_configuration_error(harness, "55000")


def test_dropped_constraint_is_configuration_error(harness: CommitterHarness) -> None:
    table = harness.target.table.sql_name
    harness.target.scratch.admin.execute(f"ALTER TABLE {table} DROP CONSTRAINT t_pkey".encode())
    assert_configuration_error(harness, "42P10")


def test_revoked_schema_error_names_grant(harness: CommitterHarness) -> None:
    schema = harness.target.table.table.schema
    harness.target.scratch.admin.execute(
        f"REVOKE USAGE ON SCHEMA {schema} FROM sink_writer".encode()
    )
    assert_configuration_error(harness, f"GRANT USAGE ON SCHEMA {schema} TO sink_writer")


def test_plan_of_altered_table_is_transient(harness: CommitterHarness) -> None:
    """A new session ends this cause of SQLSTATE 0A000, but no other."""
    table, session = harness.target.table.sql_name, harness.target.connection
    session.execute(f"PREPARE planned AS SELECT * FROM {table}".encode())
    harness.target.scratch.admin.execute(f"ALTER TABLE {table} ADD w int".encode())
    with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
        session.execute("EXECUTE planned")
    assert isinstance(classify_error(caught.value), RetriableError)
    with pytest.raises(psycopg.errors.FeatureNotSupported) as other:
        session.execute("SELECT count(*) FROM pg_class FOR UPDATE")
    assert isinstance(classify_error(other.value), ConfigError)


def test_runner_bug_does_not_become_dead_letter(harness: CommitterHarness) -> None:
    """Only an error raised while a value is sent can be a data error."""
    committer: Committer = harness.committer

    def broken(*_: Any) -> int:
        raise TypeError

    committer._writer._write_whole = broken
    with pytest.raises(TypeError):
        harness.apply(harness.batch("ok"))
    assert harness.is_unchanged()
