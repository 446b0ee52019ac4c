"""Values that PostgreSQL puts into an error never reach an error text of the runner."""

import psycopg
import pytest

from sink_runner.error_text import describe, trace
from sink_runner.postgres.error_classes import classify_error

from ..unit.test_exception_texts import CANARY


@pytest.mark.postgres
@pytest.mark.parametrize("option", ["CONSTRAINT", "COLUMN", "TABLE", "SCHEMA", "DATATYPE", "HINT"])
@pytest.mark.parametrize("state", ["P0001", "23505", "23503", "23514", "42501", "22000"])
def test_names_set_by_database_function_are_hidden(postgres, option, state):
    """PL/pgSQL may set every field of the diagnostics to a value of the row."""
    statement = (
        f"DO $$ BEGIN RAISE EXCEPTION '{CANARY}' USING ERRCODE = '{state}', {option} = '{CANARY}', "
        f"DETAIL = '{CANARY}'; END $$"
    )
    session = psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True)
    with session as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    error = classify_error(caught.value)
    texts = [
        describe(caught.value),
        *trace(caught.value),
        describe(error),
        str(error),
    ]
    texts += [str(getattr(error, "constraint", ""))]
    assert [text for text in texts if CANARY in text] == []


@pytest.mark.postgres
def test_name_of_violated_constraint_is_reported(postgres):
    with psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE t (a int CONSTRAINT small CHECK (a < 5))")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("INSERT INTO t VALUES (7)")
    assert describe(caught.value).endswith("CheckViolation sqlstate=23514 constraint=small")
    assert "(small)" in str(classify_error(caught.value))
