"""No value that PostgreSQL puts into an error leaves the process."""

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
    raising = (
        f"DO $$ BEGIN RAISE EXCEPTION '{CANARY}' USING ERRCODE = '{state}', {option} = '{CANARY}', "
        f"DETAIL = '{CANARY}'; END $$"
    )
    connecting = psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True)
    with connecting as connection, pytest.raises(psycopg.Error) as found:
        connection.execute(raising)
    fault = classify_error(found.value)
    texts = [
        describe(found.value),
        *trace(found.value),
        describe(fault),
        str(fault),
    ]
    texts += [str(getattr(fault, "constraint", ""))]
    assert [text for text in texts if CANARY in text] == []


@pytest.mark.postgres
def test_name_of_violated_constraint_is_reported(postgres):
    with psycopg.connect(postgres.dsn("smart_citizen"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE t (a int CONSTRAINT small CHECK (a < 5))")
        with pytest.raises(psycopg.Error) as found:
            connection.execute("INSERT INTO t VALUES (7)")
    assert describe(found.value).endswith("CheckViolation sqlstate=23514 constraint=small")
    assert "(small)" in str(classify_error(found.value))
