"""The audit log's entries for a batch: the run and its rows."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sink_runner.masking.policy import load_policies
from sink_runner.writer.audit import MOST_KEYS

pytestmark = pytest.mark.postgres

POLICIES = Path(__file__).parents[3] / "ranger-policies"
MANY = MOST_KEYS + 5
PERSON = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name, status, created_at, updated_at)
SELECT lpad(n::text, 32, '0')::uuid, lpad(n::text, 12, '0'),
  'Person ' || n, 'active', date '2020-01-01', '2020-01-01'
FROM generate_series(1, %s::int) n
"""
CITIZENS = """
INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status)
SELECT lpad(n::text, 12, '0'), 'Person ' || n, '0123456789', 'VERIFIED'
FROM generate_series(1, %s::int) n
"""
GOLDEN_RECORDS = """
INSERT INTO golden_records (jan_aadhaar, citizen_id)
SELECT lpad(n::text, 12, '0'), 'RJ' || n FROM generate_series(1, %s::int) n
"""
VISITS = """
INSERT INTO user_behavior_events (citizen_id, event_type, duration_seconds, occurred_at)
SELECT id, 'PAGE_VIEW', 1, now() - interval '1 day' FROM citizens
"""


def key(n: int) -> str:
    return str(UUID(f"{n:032}"))


def log(connection: Any, mapping: str) -> list[dict[str, Any]]:
    query = """SELECT details || jsonb_build_object('what', event_type, 'operation', operation,
                                                    'masked', masked_fields)
               FROM sink.audit_log WHERE details->>'mapping' = %s ORDER BY audit_id"""
    return [row[0] for row in connection.execute(query, (mapping,)).fetchall()]


def runs(connection: Any, mapping: str) -> list[int]:
    query = "SELECT run FROM sink.batch_run WHERE mapping = %s ORDER BY run"
    return [row[0] for row in connection.execute(query, (mapping,)).fetchall()]


def test_each_chunk_records_its_range_of_keys(pair) -> None:
    """Rows are read in the order of their key, so a range shows which policies masked a key."""
    pair.warehouse.execute(PERSON, (2 * MANY,))
    pair.run("golden-records", full=True, batch={"max_rows": MANY})
    first, second = log(pair.citizen, "golden-records")
    assert [first["run"], second["run"]] == runs(pair.citizen, "golden-records") * 2
    assert first["source_keys"] == [key(1), key(MANY)]
    assert second["source_keys"] == [key(MANY + 1), key(2 * MANY)]
    policies = load_policies(POLICIES)
    for entry in (first, second):
        assert (entry["what"], entry["rows"], entry["batch"]) == ("mask", MANY, True)
        assert entry["policy_version"] == policies.version
        assert "jan_aadhaar" in entry["masked"]
        assert "keys" not in entry
        assert len(entry["keys_digest"]) == 64


def test_few_rows_are_listed_by_key(pair) -> None:
    pair.warehouse.execute(PERSON, (2,))
    pair.run("golden-records", full=True)
    (entry,) = log(pair.citizen, "golden-records")
    assert [entry["run"]] == runs(pair.citizen, "golden-records")
    assert entry["keys"] == [key(1), key(2)]


def test_resumed_run_keeps_its_number(pair, stopper) -> None:
    pair.warehouse.execute(PERSON, (2 * MANY,))
    chunks = {"max_rows": MANY}
    assert pair.run("golden-records", stopper(1), full=True, batch=chunks).interrupted
    pair.run("golden-records", full=True, batch=chunks)
    first, second = log(pair.citizen, "golden-records")
    assert [first["run"], second["run"]] == runs(pair.citizen, "golden-records") * 2
    assert second["source_keys"] == [key(MANY + 1), key(2 * MANY)]


def test_rows_have_fingerprints_instead_of_personal_keys(pair, encryptor) -> None:
    """A range of fingerprints would not show which keys it contains."""
    pair.citizen.execute(CITIZENS, (MANY,))
    pair.warehouse.execute(GOLDEN_RECORDS, (MANY,))
    pair.run("citizens", full=True, batch={"max_rows": 100})
    (entry,) = log(pair.warehouse, "citizens")
    assert [entry["run"]] == runs(pair.warehouse, "citizens")
    assert "source_keys" not in entry
    known = {encryptor.fingerprint(f"{n:012}".encode()).hex() for n in range(1, MANY + 1)}
    assert set(entry["keys"]) == known
    found = pair.citizen.execute("SELECT id::text, aadhaar_number FROM citizens").fetchall()
    assert not any(text in json.dumps(entry) for row in found for text in row)


def test_query_rows_are_listed_by_fingerprint(pair) -> None:
    """The rows of a query are not read in the order of a key."""
    pair.citizen.execute(CITIZENS, (MANY,))
    pair.warehouse.execute(GOLDEN_RECORDS, (MANY,))
    pair.citizen.execute(VISITS)
    pair.run("user-behavior", full=True, batch={"max_rows": 100})
    (entry,) = log(pair.warehouse, "user-behavior")
    assert [entry["run"]] == runs(pair.warehouse, "user-behavior")
    assert len(set(entry["keys"])) == entry["rows"] == MANY


def test_removed_rows_are_listed_by_key(pair) -> None:
    """A range of keys would not show which rows were removed from it."""
    pair.warehouse.execute(PERSON, (2 * MANY,))
    pair.run("golden-records", full=True, batch={"max_rows": 100})
    pair.warehouse.execute("DELETE FROM golden_records WHERE right(jan_aadhaar, 1) < '9'")
    gone = [key(n) for n in range(1, 2 * MANY + 1) if n % 10 < 9]
    assert len(gone) > MOST_KEYS
    pair.run("golden-records", full=True, batch={"max_rows": 100})
    entry = log(pair.citizen, "golden-records")[-1]
    assert (entry["operation"], entry["rows"]) == ("DELETE", len(gone))
    assert entry["run"] == runs(pair.citizen, "golden-records")[-1]
    assert entry["keys"] == gone


def test_retried_rows_have_number_of_retrying_run(pair) -> None:
    """They come from earlier runs, so no range of keys describes them."""
    pair.citizen.execute(CITIZENS, (MANY,))
    pair.citizen.execute(VISITS)
    pair.run("user-behavior", full=True, batch={"max_rows": 100})
    assert log(pair.warehouse, "user-behavior") == []
    pair.warehouse.execute(GOLDEN_RECORDS, (MANY,))
    pair.run("user-behavior", batch={"max_rows": 100})
    entry = log(pair.warehouse, "user-behavior")[0]
    assert len(set(entry["keys"])) == entry["rows"] == MANY
    assert entry["run"] == runs(pair.warehouse, "user-behavior")[-1]


def test_failed_row_has_number_of_its_run(pair) -> None:
    pair.warehouse.execute(PERSON, (2,))
    pair.citizen.execute("ALTER TABLE profile_data ADD CHECK (full_name <> 'Person 1')")
    pair.run("golden-records", full=True)
    error = log(pair.citizen, "golden-records")[0]
    assert error["what"] == "error"
    assert [error["run"]] == runs(pair.citizen, "golden-records")


def test_dry_run_writes_no_entry(pair) -> None:
    pair.warehouse.execute(PERSON, (MANY,))
    pair.run("golden-records", full=True, dry_run=True)
    assert log(pair.citizen, "golden-records") == []
