"""smart_warehouse.forecast.benefit_forecasts -> smart_citizen.public.benefit_forecasts."""

from collections.abc import Mapping
from typing import Any

from sink_runner.plugin import Column, Rule, TableMapping, hookimpl, newest_wins


def _is_array(row: Mapping[str, Any]) -> bool:
    projections = row["projections"]  # JSON is text here; `required` refuses NULL
    return projections is None or projections.lstrip().startswith("[")


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.forecast.benefit_forecasts",
        target="smart_citizen.public.benefit_forecasts",
        key=("forecast_id",),
        conflict=newest_wins("generated_at"),
        expected_per_day=50_000,
        rules=(Rule("projections is an array", _is_array, reads=("projections",)),),
        columns=(
            Column("forecast_id", required=True),
            Column("family_id", required=True),
            Column("horizon_months", required=True, minimum=1),
            Column("total_annual_value", minimum=0),
            Column("scheme_count", minimum=0),
            Column("projections", required=True),  # masked by policy
            Column("generated_at", required=True),
        ),
    )
