"""A full batch keeps rows that a callback of the API created, not the source table."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sink_runner.testing import NOW, Sample, TargetHarness, create, delete, snapshot

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[3]
FAMILY = "00000000-0000-4000-8000-00000000000a"
NAME = "benefit-forecasts"
COLUMNS = """INSERT INTO forecast.benefit_forecasts
(forecast_id, family_id, horizon_months, generated_at) VALUES (%s, %s, 12, %s)"""


def row(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "forecast_id": number,
        "family_id": FAMILY,
        "horizon_months": 12,
        "total_annual_value": Decimal("1.00"),
        "scheme_count": 1,
        "projections": "[]",
        "generated_at": NOW,
        **changed,
    }


def callback(number: int, **changed: Any) -> Sample:
    """Return a creation as the API publishes it: without a position in a write-ahead log."""
    return replace(create(**row(number, **changed)), position=None)


@pytest.fixture
def portal(pair) -> Iterator[TargetHarness]:
    name = pair.names["smart_citizen"]
    harness = TargetHarness(
        NAME,
        dsn=pair.postgres.dsn(name, "sink_writer"),
        admin_dsn=pair.postgres.dsn(name),
        policies=ROOT / "ranger-policies",
    )
    yield harness
    harness.close()


def insert_forecast(pair: Any, number: int) -> None:
    pair.warehouse.execute(COLUMNS, (number, FAMILY, NOW))


def target_ids(pair: Any) -> list[int]:
    query = "SELECT forecast_id FROM benefit_forecasts ORDER BY 1"
    return [number for (number,) in pair.citizen.execute(query)]


def test_callback_row_is_kept(pair: Any, portal: TargetHarness) -> None:
    insert_forecast(pair, 1)
    portal.send(callback(7), create(**row(8)).at(NOW, 5))
    report = pair.run(NAME, full=True)
    assert report.counts["gone"] == 1
    assert target_ids(pair) == [1, 7]


def test_incremental_snapshot_is_not_a_callback(pair: Any, portal: TargetHarness) -> None:
    portal.send(replace(snapshot(**row(7)), position=None))
    pair.run(NAME, full=True)
    assert target_ids(pair) == []


@pytest.mark.parametrize("together", [True, False])
def test_callback_row_with_later_event_is_removed(
    pair: Any, portal: TargetHarness, *, together: bool
) -> None:
    later = create(**row(7, generated_at=NOW + timedelta(days=1))).at(NOW, 9)
    for batch in [[callback(7), later]] if together else [[callback(7)], [later]]:
        portal.send(*batch)
    pair.run(NAME, full=True)
    assert target_ids(pair) == []


def test_callback_row_read_by_batch_is_removed_later(pair: Any, portal: TargetHarness) -> None:
    portal.send(callback(7))
    insert_forecast(pair, 7)
    pair.run(NAME, full=True)
    pair.warehouse.execute("DELETE FROM forecast.benefit_forecasts")
    pair.run(NAME, full=True)
    assert target_ids(pair) == []


def test_deletion_ends_protection_of_callback_row(pair: Any, portal: TargetHarness) -> None:
    portal.send(callback(7))
    portal.send(delete(**row(7)).at(NOW, 9))
    assert target_ids(pair) == []
    assert portal.admin.execute("SELECT FROM sink.callback_row").fetchall() == []


def test_failed_callback_is_not_recorded(pair: Any, portal: TargetHarness) -> None:
    portal.send(callback(7, horizon_months=-1))
    assert portal.admin.execute("SELECT FROM sink.callback_row").fetchall() == []


def test_callback_key_is_stored_hashed(pair: Any, portal: TargetHarness) -> None:
    portal.send(callback(987_654))
    (kept,) = portal.admin.execute("SELECT * FROM sink.callback_row").fetchall()
    assert "987654" not in kept["key"]
