"""Batch runs of citizens, most of whose target rows have no citizen in the portal."""

import pytest

pytestmark = pytest.mark.postgres

INSERT_RECORDS = """
INSERT INTO golden_records (jan_aadhaar, full_name)
VALUES
  ('012345678901', 'A. Devi'), ('012345678902', 'Not in portal'), (NULL, 'Without number')
"""
INSERT_CITIZEN = """
INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status)
VALUES ('012345678901', 'Asha Devi', '0123456789', 'VERIFIED')
"""
RECORDS = "SELECT full_name, review_required FROM golden_records ORDER BY jan_aadhaar"


def test_full_run_keeps_records_without_a_citizen(pair) -> None:
    pair.warehouse.execute(INSERT_RECORDS)
    pair.citizen.execute(INSERT_CITIZEN)
    report = pair.run("citizens", full=True)
    assert report.adds_up
    assert (report.counts["written"], report.counts["removed"]) == (1, 0)
    assert pair.warehouse.execute(RECORDS).fetchall() == [
        ("Asha Devi", False),
        ("Not in portal", False),
        ("Without number", False),
    ]
    conflicts = "SELECT count(*) FROM sink.conflict"
    assert pair.warehouse.execute(conflicts).fetchone() == (0,)
