"""Reconciliation of a mapping with a query, and of one with rows that callbacks wrote."""

import pytest

from ..batch.test_callback_rows import NAME as FORECASTS
from ..batch.test_callback_rows import callback, insert_forecast, portal, target_ids
from ..batch.test_user_behavior import BEFORE, add_event, counts
from ..batch.test_user_behavior import people as behavior_people
from .test_comparing import count_differences

pytestmark = pytest.mark.postgres
__all__ = ["behavior_people", "portal"]

BEHAVIOR = "user-behavior"
FOUND = {"missing": 1, "extra": 2, "different": 1}
ROWS = "SELECT event_type, event_date, xmin::text FROM analytics.user_behavior"
DAMAGE = (
    "DELETE FROM analytics.user_behavior WHERE event_type = 'SCHEME_CLICK'",
    "UPDATE analytics.user_behavior SET event_count = 9 WHERE event_type = 'SEARCH_QUERY'",
    (
        "INSERT INTO analytics.user_behavior SELECT 'RJ99', event_type, event_date, event_count, "
        "total_duration_seconds, first_event_at, last_event_at FROM analytics.user_behavior "
        "WHERE event_type = 'PAGE_VIEW'"
    ),
)


@pytest.fixture
def behavior(pair, behavior_people):
    """Four counts in both databases."""
    for kind in ("PAGE_VIEW", "SEARCH_QUERY", "SCHEME_CLICK"):
        add_event(pair, kind=kind)
    add_event(pair, BEFORE)
    pair.run(BEHAVIOR, full=True)
    return pair


def damage_counts(pair) -> None:
    for statement in DAMAGE:
        pair.warehouse.execute(statement.encode())


def test_damage_of_query_rows_is_repaired(behavior) -> None:
    expected = counts(behavior)
    before = {*behavior.warehouse.execute(ROWS).fetchall()}
    damage_counts(behavior)
    assert count_differences(behavior.reconcile(BEHAVIOR, repair=True, dry_run=True)) == FOUND
    report = behavior.reconcile(BEHAVIOR, repair=True)
    assert (report.outcome, count_differences(report)) == ("equal", FOUND)
    assert counts(behavior) == expected
    after = {*behavior.warehouse.execute(ROWS).fetchall()}
    assert len(after - before) == 2


def test_failed_query_rows_are_not_extra(behavior) -> None:
    """The name of the row's citizen can no longer be looked up."""
    behavior.warehouse.execute("DELETE FROM golden_records")
    report = behavior.reconcile(BEHAVIOR)
    assert count_differences(report) == {}
    assert any("rows that failed" in note for note in report.notes)


def test_callback_row_is_not_extra(pair, portal) -> None:
    insert_forecast(pair, 1)
    pair.run(FORECASTS, full=True)
    portal.send(callback(7))
    report = pair.reconcile(FORECASTS, repair=True)
    assert (report.outcome, count_differences(report)) == ("equal", {})
    assert target_ids(pair) == [1, 7]


def test_repaired_callback_row_is_forgotten(pair, portal) -> None:
    """The source table has the row now, so it is removed when the source deletes it."""
    portal.send(callback(7))
    insert_forecast(pair, 7)
    assert pair.reconcile(FORECASTS, repair=True).counts["repaired"] == 1
    pair.warehouse.execute("DELETE FROM forecast.benefit_forecasts")
    assert pair.reconcile(FORECASTS, repair=True).counts["extra"] == 1
    assert target_ids(pair) == []
