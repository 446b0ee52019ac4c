"""SQLSTATEs that may be a row's or the configuration's, each raised by PostgreSQL itself."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from sink_runner.errors import ConfigError, RetriableError, TimedOutError
from sink_runner.postgres.error_classes import classify_error
from sink_runner.writer.committer import Committer

from .conftest import Bench

pytestmark = pytest.mark.postgres

DDL = "id int PRIMARY KEY, v text"


@pytest.fixture
def bench(written: Callable[..., Any]) -> Iterator[Bench]:
    made = Bench(written, DDL)
    yield made
    for committer in made.open:
        committer.session.close()


def trigger(bench: Bench, body: str) -> None:
    """Run `body` in a BEFORE trigger for each row that is written."""
    schema, table = bench.made.table.table.schema, bench.made.table.sql_name
    bench.made.scratch.admin.execute(
        f"""
        CREATE FUNCTION {schema}.checked() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN {body} RETURN NEW; END $$;
        CREATE TRIGGER checked BEFORE INSERT OR UPDATE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {schema}.checked();
        """.encode()
    )


def kept_apart(bench: Bench) -> None:
    """Only the row 'bad' is refused."""
    assert bench.apply(bench.batch("ok", "bad", "ok")) == 2
    assert (bench.ids(), bench.dead_letters()) == ([0, 2], [1])


def refused_whole(bench: Bench, match: str) -> None:
    """No row is written and none is blamed."""
    with pytest.raises(ConfigError, match=match) as caught:
        bench.apply(bench.batch("ok", "bad", "ok"))
    assert "'ok'" not in str(caught.value)
    assert bench.nothing_happened()


@pytest.mark.parametrize("state", ["P0001", "42501", "55000", "0A000", "42883", "22023", "XX000"])
@pytest.mark.parametrize("count", [1, 3])
def test_raise_of_a_trigger_is_the_rows(bench: Bench, state: str, count: int) -> None:
    trigger(bench, f"IF NEW.v = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF;")
    values = ["bad"] if count == 1 else ["ok", "bad", "ok"]
    bench.apply(bench.batch(*values))
    assert len(bench.dead_letters()) == 1


@pytest.mark.parametrize("state", ["40001", "40P01", "53100", "57P03"])
def test_raise_that_asks_for_a_retry_is_transient(bench: Bench, state: str) -> None:
    trigger(bench, f"RAISE EXCEPTION 'later' USING ERRCODE = '{state}';")
    with pytest.raises(RetriableError, match=state):
        bench.apply(bench.batch("ok"))
    assert bench.nothing_happened()


def test_lock_timeout_in_a_trigger_is_a_timeout(bench: Bench) -> None:
    trigger(bench, "RAISE EXCEPTION 'locked' USING ERRCODE = '55P03';")
    with pytest.raises(TimedOutError):
        bench.apply(bench.batch("ok"))


ROW_DEPENDENT = {
    "42P01": "EXECUTE format('SELECT 1 FROM %I', 'pg_class' || replace(NEW.v, 'ok', ''));",
    "42703": "EXECUTE format('SELECT %I FROM (SELECT 1 AS ok) s', NEW.v);",
    "42883": "EXECUTE format('SELECT %I(1)', CASE NEW.v WHEN 'bad' THEN NEW.v ELSE 'abs' END);",
    "42601": "EXECUTE CASE NEW.v WHEN 'bad' THEN 'SELEC' ELSE 'SELECT 1' END;",
    "3F000": "EXECUTE format('CREATE TEMP VIEW w%s AS SELECT 1', NEW.id); "
    "IF NEW.v = 'bad' THEN CREATE TABLE nowhere.t (); END IF;",
    "0A000": "EXECUTE CASE NEW.v WHEN 'bad' THEN 'COMMIT' ELSE 'SELECT 1' END;",
    "22012": "PERFORM 1 / (CASE NEW.v WHEN 'bad' THEN 0 ELSE 1 END);",
    "21000": "PERFORM (SELECT g FROM generate_series(1, CASE NEW.v WHEN 'bad' THEN 2 END) g);",
    "P0002": "DECLARE x int; BEGIN SELECT 1 INTO STRICT x WHERE NEW.v <> 'bad'; END;",
    "54001": "IF NEW.v = 'bad' THEN PERFORM ('[' || repeat('[', 100000))::json; END IF;",
    "22P02": "IF NEW.v = 'bad' THEN PERFORM NEW.v::int; END IF;",
}


@pytest.mark.parametrize("state", ROW_DEPENDENT)
def test_fault_in_trigger_for_one_row_is_rows(bench: Bench, state: str) -> None:
    trigger(bench, ROW_DEPENDENT[state])
    kept_apart(bench)
    assert bench.sql(f"SELECT sqlstate FROM sink.dead_letter WHERE topic = '{bench.topic}'") == [
        (state,)
    ]


FOR_EVERY_ROW = {
    "42P01": "INSERT INTO audit_that_is_gone VALUES (1);",
    "42703": "NEW.gone := 1;",
    "42883": "PERFORM nobody_made_this(NEW.id);",
    "42501": "PERFORM 1 FROM pg_authid;",
    "3F000": "CREATE TABLE nowhere.t ();",
}


@pytest.mark.parametrize("state", FOR_EVERY_ROW)
def test_fault_in_trigger_for_every_row_is_configuration(bench: Bench, state: str) -> None:
    trigger(bench, FOR_EVERY_ROW[state])
    refused_whole(bench, state)
    with pytest.raises(ConfigError, match=state):
        bench.apply(bench.batch("ok"))


def test_privilege_missing_in_a_trigger_names_the_table(bench: Bench) -> None:
    trigger(bench, FOR_EVERY_ROW["42501"])
    refused_whole(bench, "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE pg_authid TO sink_writer")


@pytest.mark.parametrize("how", ["WITH CHECK (v <> 'bad')", "USING (true) WITH CHECK (v <> 'bad')"])
def test_row_security_policy_refuses_the_row(bench: Bench, how: str) -> None:
    table = bench.made.table.sql_name
    command = "FOR INSERT" if how.startswith("WITH") else "FOR ALL"
    bench.made.scratch.admin.execute(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY seen ON {table} FOR SELECT USING (true);
        CREATE POLICY changed ON {table} FOR UPDATE USING (true);
        CREATE POLICY decent ON {table} {command} TO sink_writer {how};
        """.encode()
    )
    kept_apart(bench)


def test_row_of_no_partition_says_so(bench: Bench) -> None:
    table = bench.made.table.sql_name
    bench.made.scratch.admin.execute(
        f"""
        DROP TABLE {table};
        CREATE TABLE {table} (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
        CREATE TABLE {table[:-1]}_first" PARTITION OF {table} FOR VALUES FROM (0) TO (2);
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO sink_writer;
        """.encode()
    )
    batch = bench.batch("a", "b", "c")
    assert bench.apply(batch) == 2
    (dead_letter,) = batch.dead_letters
    assert "(no partition of t for this row)" in str(dead_letter.error)


def test_view_check_option_is_the_rows(bench: Bench) -> None:
    schema, table = bench.made.table.table.schema, bench.made.table.sql_name
    bench.made.scratch.admin.execute(f"ALTER TABLE {table} RENAME TO base".encode())
    bench.made.scratch.admin.execute(
        f"""
        CREATE VIEW {table} AS SELECT id, v FROM {schema}.base WHERE v <> 'bad' WITH CHECK OPTION;
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO sink_writer;
        """.encode()
    )
    kept_apart(bench)


def test_domain_check_is_the_rows(bench: Bench) -> None:
    schema, table = bench.made.table.table.schema, bench.made.table.sql_name
    bench.made.scratch.admin.execute(
        f"""
        CREATE DOMAIN {schema}.decent AS text CHECK (VALUE <> 'bad');
        ALTER TABLE {table} ALTER v TYPE {schema}.decent;
        """.encode()
    )
    kept_apart(bench)


def test_deferrable_arbiter_is_the_configuration(bench: Bench) -> None:
    table = bench.made.table.sql_name
    bench.made.scratch.admin.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT t_pkey, ADD UNIQUE (id) DEFERRABLE".encode()
    )
    refused_whole(bench, "55000")


def test_dropped_constraint_is_the_configuration(bench: Bench) -> None:
    table = bench.made.table.sql_name
    bench.made.scratch.admin.execute(f"ALTER TABLE {table} DROP CONSTRAINT t_pkey".encode())
    refused_whole(bench, "42P10")


def test_revoked_schema_names_the_grant(bench: Bench) -> None:
    schema = bench.made.table.table.schema
    bench.made.scratch.admin.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM sink_writer".encode())
    refused_whole(bench, f"GRANT USAGE ON SCHEMA {schema} TO sink_writer")


def test_plan_of_an_altered_table_is_transient(bench: Bench) -> None:
    """The other causes of SQLSTATE 0A000 do not end by a new session."""
    table, session = bench.made.table.sql_name, bench.made.connection
    session.execute(f"PREPARE planned AS SELECT * FROM {table}".encode())
    bench.made.scratch.admin.execute(f"ALTER TABLE {table} ADD w int".encode())
    with pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
        session.execute("EXECUTE planned")
    assert isinstance(classify_error(caught.value), RetriableError)
    with pytest.raises(psycopg.errors.FeatureNotSupported) as other:
        session.execute("SELECT count(*) FROM pg_class FOR UPDATE")
    assert isinstance(classify_error(other.value), ConfigError)


def test_bug_of_the_runner_is_no_dead_letter(bench: Bench) -> None:
    """Only what is raised while a value is sent can be the value's fault."""
    committer: Committer = bench.committer

    def broken(*_: Any) -> int:
        raise TypeError

    committer._writer._write_whole = broken
    with pytest.raises(TypeError):
        bench.apply(bench.batch("ok"))
    assert bench.nothing_happened()
