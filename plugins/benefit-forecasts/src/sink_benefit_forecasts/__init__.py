"""smart_warehouse.forecast.benefit_forecasts -> smart_citizen.public.benefit_forecasts."""

from sink_runner.plugin import Column, TableMapping, hookimpl, newest_wins


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.forecast.benefit_forecasts",
        target="smart_citizen.public.benefit_forecasts",
        key=("forecast_id",),
        conflict=newest_wins("generated_at"),
        columns=(
            Column("forecast_id", required=True),
            Column("family_id", required=True),
            Column("horizon_months", required=True, minimum=1),
            Column("total_annual_value", minimum=0),
            Column("scheme_count", minimum=0),
            Column("projections", required=True),  # JSON, as it was written
            Column("generated_at", required=True),
        ),
    )
