"""Batch runs of golden-records between real databases."""

import pytest

pytestmark = pytest.mark.postgres

PERSON = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name, status, created_at, updated_at)
SELECT gen_random_uuid(), lpad(n::text, 12, '0'),
  'Person ' || n, 'active', date '2020-01-01', '2020-01-01'
FROM generate_series(%s::int, %s::int) n
"""
COPIED = "SELECT record_id, jan_aadhaar, full_name FROM profile_data ORDER BY full_name"


def test_full_run_copies_every_row_masked(pair) -> None:
    """The run also copies rows older than the 30 days of the topic; every number is masked."""
    pair.warehouse.execute(PERSON, (1, 20))
    report = pair.run("golden-records", full=True)
    assert report.counts["read"] == report.counts["written"] == 20
    assert report.adds_up
    rows = pair.citizen.execute(COPIED).fetchall()
    assert len(rows) == 20
    assert all(row[1].startswith("****-****-") for row in rows)


def test_run_over_unchanged_source_writes_nothing(pair) -> None:
    pair.warehouse.execute(PERSON, (1, 20))
    pair.run("golden-records", full=True)
    again = pair.run("golden-records", full=True)
    assert (again.counts["read"], again.counts["written"]) == (20, 0)
    assert pair.run("golden-records").counts["read"] == 0
