"""Rows that are derived from candidates: both the candidates and the rows are compared."""

import pytest

from .test_comparing import PEOPLE, count_differences

pytestmark = pytest.mark.postgres

PROFILES = """
INSERT INTO profile_360
  (gr_id, profile_data, vulnerability_level, cluster_id, created_at, updated_at)
SELECT md5(n::text)::uuid, '{}', 'HIGH', 'C' || n, '2020-01-01', date '2026-01-01' + n
FROM generate_series(1, 12) n
"""
ROWS = "SELECT family_id, xmin::text FROM profile_summary"


@pytest.fixture
def profiles(pair):
    pair.warehouse.execute(PEOPLE, (1, 12))
    pair.warehouse.execute(PROFILES)
    report = pair.run("profiles", full=True)
    assert report.counts["written"] == 12, report.json()
    pair.citizen.execute("ALTER TABLE profile_summary DISABLE TRIGGER USER")
    return pair


def test_derived_rows_are_compared_and_repaired(profiles) -> None:
    assert profiles.reconcile("profiles").outcome == "equal"
    before = dict(profiles.citizen.execute(ROWS).fetchall())
    profiles.citizen.execute("DELETE FROM profile_summary WHERE family_id = md5('1')::uuid")
    profiles.citizen.execute(
        "UPDATE profile_summary SET region = 'X' WHERE family_id = md5('2')::uuid"
    )
    profiles.citizen.execute(
        "UPDATE profile_summary SET family_id = gen_random_uuid() WHERE family_id = md5('3')::uuid"
    )
    report = profiles.reconcile("profiles")
    assert count_differences(report) == {"missing": 2, "different": 1, "extra": 1}
    assert report.columns == {"region": 1}
    repaired = profiles.reconcile("profiles", repair=True)
    assert (repaired.outcome, repaired.counts["repaired"]) == ("equal", 4)
    after = dict(profiles.citizen.execute(ROWS).fetchall())
    assert after.keys() == before.keys()
    assert sum(after[key] != before[key] for key in after) == 3


def test_missing_candidate_is_found(profiles) -> None:
    """The derived row fits the stored candidates; only the source shows the difference."""
    profiles.warehouse.execute("UPDATE profile_360 SET cluster_id = 'new' WHERE cluster_id = 'C1'")
    assert count_differences(profiles.reconcile("profiles")) == {"different": 1}
