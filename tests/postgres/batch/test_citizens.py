"""The batch form of citizens, whose target is mostly of people who are in no portal."""

import pytest

pytestmark = pytest.mark.postgres

KNOWN = """
INSERT INTO golden_records (jan_aadhaar, full_name)
VALUES
  ('012345678901', 'A. Devi'), ('012345678902', 'Nobody of the portal'), (NULL, 'Nobody at all')
"""
CITIZEN = """
INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status)
VALUES ('012345678901', 'Asha Devi', '0123456789', 'VERIFIED')
"""
RECORDS = "SELECT full_name, review_required FROM golden_records ORDER BY jan_aadhaar"


def test_full_run_keeps_records_without_a_citizen(pair) -> None:
    pair.warehouse.execute(KNOWN)
    pair.citizen.execute(CITIZEN)
    report = pair.run("citizens", full=True)
    assert report.adds_up
    assert (report.counts["written"], report.counts["removed"]) == (1, 0)
    assert pair.warehouse.execute(RECORDS).fetchall() == [
        ("Asha Devi", False),
        ("Nobody of the portal", False),
        ("Nobody at all", False),
    ]
    conflicts = "SELECT count(*) FROM sink.conflict"
    assert pair.warehouse.execute(conflicts).fetchone() == (0,)
