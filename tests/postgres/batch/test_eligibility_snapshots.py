"""Pattern 3 of the specification: the weekly batch of historical eligibility data."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sink_runner.loading import discovery
from tests.oracle.comparison import compare_hints
from tests.oracle.eligibility_hints import compute_hints
from tests.oracle.history import Change, fetch_rows

pytestmark = pytest.mark.postgres

# Two years of evaluations, of which about 240 are not older than 30 days.
HISTORY = """
INSERT INTO eligibility.eligibility_snapshots (family_id, member_id, scheme_code,
  evaluation_status, eligibility_score, confidence_score, evaluation_timestamp)
SELECT md5((n % 20)::text)::uuid, CASE WHEN n % 3 > 0 THEN md5((n % 3)::text)::uuid END,
  'S' || n % 7, (ARRAY['RULE_ELIGIBLE', 'POSSIBLE_ELIGIBLE', 'NOT_ELIGIBLE'])[1 + n % 3],
  n * 37 % 100 / 100.0, n * 53 % 100 / 100.0,
  now() AT TIME ZONE 'UTC' - n * interval '3 hours'
FROM generate_series(1, 5840) n
"""
SNAPSHOTS = "SELECT * FROM eligibility.eligibility_snapshots ORDER BY snapshot_id"
CANDIDATES = "SELECT count(*) FROM sink.candidates_eligibility_snapshots"


@pytest.fixture
def history(pair) -> Any:
    pair.warehouse.execute(
        "INSERT INTO scheme_master (scheme_code, scheme_name, category) "
        "SELECT 'S' || n, n, 'HEALTH' FROM generate_series(0, 6) n"
    )
    pair.warehouse.execute(HISTORY)
    return pair


def full_run(pair: Any) -> Any:
    return pair.run("eligibility-snapshots", full=True, batch={"max_rows": 5000})


def differences(pair: Any) -> list[str]:
    """Compare the hints with the specification's rules, applied to all snapshots."""
    rows = fetch_rows(pair.warehouse, SNAPSHOTS)
    hints = fetch_rows(pair.citizen, "SELECT * FROM public.eligibility_hints")
    now = datetime.now(UTC).replace(tzinfo=None)
    changes = [Change(seq=at, relation="snapshots", new=row) for at, row in enumerate(rows)]
    return list(compare_hints(compute_hints(changes, now), hints))


def test_full_run_of_history_writes_hints(history) -> None:
    """Expired evaluations are read, and are not copied to the candidates."""
    report = full_run(history)
    assert report.is_good(0), report.json()
    assert report.counts["read"] == 5840
    (candidates,) = history.citizen.execute(CANDIDATES).fetchone()
    assert 0 < candidates <= 240
    assert differences(history) == []
    assert full_run(history).counts["written"] == 0


def test_full_run_repairs_hints(history) -> None:
    full_run(history)
    history.citizen.execute(
        "DELETE FROM eligibility_hints WHERE family_id = md5('1')::uuid; "
        "DELETE FROM sink.candidates_eligibility_snapshots WHERE family_id = md5('2')::uuid; "
        "UPDATE eligibility_hints SET eligibility_score = 0.01 WHERE family_id = md5('3')::uuid"
    )
    assert full_run(history).is_good(0)
    assert differences(history) == []


def test_expired_evaluation_removes_its_hint(history) -> None:
    """Its change was not captured, so that only the batch notices it."""
    full_run(history)
    history.warehouse.execute(
        "UPDATE eligibility.eligibility_snapshots "
        "SET evaluation_timestamp = evaluation_timestamp - interval '1 year' "
        "WHERE family_id = md5('1')::uuid AND evaluation_timestamp > now() - interval '31 days'"
    )
    full_run(history)
    assert differences(history) == []
    hints = "SELECT count(*) FROM eligibility_hints WHERE family_id = md5('1')::uuid"
    assert history.citizen.execute(hints).fetchone() == (0,)


def test_weekly_full_run_is_declared() -> None:
    plugin = discovery.installed()["eligibility-snapshots"]
    discovery.load(plugin)
    (schedule,) = plugin.mapping.schedules
    assert (schedule.cron, schedule.full) == ("30 4 * * SUN", True)
