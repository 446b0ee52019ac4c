"""Flow 5: the latest benefit forecasts of a family."""

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sink_runner.plugin import ABSENT, Delete
from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    Sample,
    TargetHarness,
    create,
    delete,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
FAMILY = "00000000-0000-4000-8000-00000000000a"
LATER, EARLIER = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
# The JSON of the target: numbers that a float would change, text that is not ASCII, and the
# order of the keys must be kept.
EXPECTED = (
    '[{"scheme_code":"NREGA","benefit_amount":123456789.01234567890123456789,'
    '"probability":0.1000,"scheme_name":"वर्षा","benefit_count":null}]'
)
PROJECTIONS = EXPECTED.replace(
    "}]", ',"assumptions": ["वर्षा", null, true], "metadata": {"b": {"a": []}, "a": 1e-7}}]'
)
FORECAST = {
    "forecast_id": 7,
    "family_id": FAMILY,
    "horizon_months": 12,
    "total_annual_value": Decimal("12000.50"),
    "scheme_count": 2,
    "projections": PROJECTIONS,
    "generated_at": NOW,
}


def forecast(**changed: Any) -> Sample:
    return create(**FORECAST | changed)


class TestContract(MappingContract):
    plugin = "benefit-forecasts"
    policies = POLICIES
    samples = (
        forecast(),
        forecast(total_annual_value=None, scheme_count=None, projections="[]"),
        update(FORECAST, generated_at=LATER),
        delete(**FORECAST),
    )


@pytest.fixture
def sink() -> Harness:
    types = {"horizon_months": "integer", "scheme_count": "integer"}
    return Harness("benefit-forecasts", policies=POLICIES, types=types)


def test_all_columns_are_mapped_directly(sink: Harness) -> None:
    assert [column.sources for column in sink.mapping.columns] == [(name,) for name in FORECAST]
    assert sink.send(forecast()).row["projections"] == EXPECTED


def test_deleted_forecast_is_removed(sink: Harness) -> None:
    assert sink.send(delete(**FORECAST)).leaves == [(("7",), Delete())]


class TestQuality:
    @pytest.mark.parametrize(
        ("changed", "rule"),
        [
            ({"horizon_months": 0}, "minimum"),
            ({"horizon_months": None}, "required"),
            ({"total_annual_value": Decimal("-0.01")}, "minimum"),
            ({"scheme_count": -1}, "minimum"),
            ({"family_id": None}, "required"),
            ({"projections": None}, "required"),
            ({"projections": '{"a": -0.01}'}, "projections is an array"),
            ({"generated_at": None}, "required"),
        ],
    )
    def test_error_names_column_and_rule(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(forecast(**changed)).error)
        assert rule in error
        assert next(iter(changed)) in error
        assert "0.01" not in error

    def test_smallest_permitted_values_pass(self, sink: Harness) -> None:
        smallest = {"horizon_months": 1, "total_annual_value": Decimal(0), "scheme_count": 0}
        assert sink.send(forecast(**smallest)).row["horizon_months"] == 1


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "benefit-forecasts",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    yield harness
    harness.close()


@pytest.mark.postgres
class TestWrittenRows:
    def test_forecast_is_inserted(self, portal: TargetHarness) -> None:
        assert portal.send(forecast()) == 1
        (row,) = portal.rows()
        assert (row["forecast_id"], row["family_id"]) == (7, UUID(FAMILY))
        assert (row["horizon_months"], row["scheme_count"]) == (12, 2)
        assert row["total_annual_value"] == Decimal("12000.50")
        assert row["generated_at"] == NOW
        assert portal.dead() == []

    def test_projections_keep_every_digit(self, portal: TargetHarness) -> None:
        portal.send(forecast())
        query = "SELECT projections::text AS found, %s::jsonb::text AS sent FROM benefit_forecasts"
        (row,) = portal.admin.execute(query, (EXPECTED,)).fetchall()
        assert row["found"] == row["sent"]
        exact = json.loads(row["found"], parse_float=Decimal)
        assert exact == json.loads(EXPECTED, parse_float=Decimal)

    def test_newer_forecast_replaces_older_one(self, portal: TargetHarness) -> None:
        portal.send(forecast())
        newer = {"projections": "[]", "total_annual_value": None, "generated_at": LATER}
        assert portal.send(update(FORECAST, **newer)) == 1
        (row,) = portal.rows()
        assert (row["projections"], row["total_annual_value"]) == ([], None)

    @pytest.mark.parametrize("together", [True, False])
    def test_older_forecast_changes_nothing(self, portal: TargetHarness, *, together: bool) -> None:
        older = forecast(scheme_count=9, generated_at=EARLIER)
        for batch in [[forecast(), older]] if together else [[forecast()], [older]]:
            portal.send(*batch)
        assert portal.rows("scheme_count") == [{"scheme_count": 2}]

    def test_later_position_wins_at_equal_times(self, portal: TargetHarness) -> None:
        portal.send(forecast(), forecast(scheme_count=3).at(NOW, 2))
        portal.send(forecast(scheme_count=4).at(NOW, 3))
        assert portal.rows("scheme_count") == [{"scheme_count": 4}]

    def test_equal_json_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(forecast())
        spaced = PROJECTIONS.replace(", ", ",")  # the same JSON
        assert portal.send(update(FORECAST, projections=spaced)) == 0

    def test_older_event_never_restores_deleted_forecast(self, portal: TargetHarness) -> None:
        portal.send(forecast(), delete(**FORECAST).at(NOW, 9))
        assert portal.send(forecast(generated_at=LATER).at(NOW, 5)) == 0
        assert portal.rows() == []

    def test_family_may_have_several_forecasts(self, portal: TargetHarness) -> None:
        portal.send(forecast(), forecast(forecast_id=8))
        assert [row["forecast_id"] for row in portal.rows(order="forecast_id")] == [7, 8]

    def test_unchanged_toast_value_is_kept(self, portal: TargetHarness) -> None:
        portal.send(forecast())
        changed = FORECAST | {"projections": ABSENT, "generated_at": LATER, "scheme_count": 3}
        assert portal.send(update(FORECAST, **changed)) == 1
        (row,) = portal.rows()
        assert (row["scheme_count"], len(row["projections"])) == (3, 1)
