"""smart_warehouse.public.golden_records -> smart_citizen.public.profile_data."""

from datetime import timedelta

from sink_runner.plugin import (
    Column,
    Context,
    Event,
    FilterResult,
    Schedule,
    SyncTime,
    TableMapping,
    first_of,
    hookimpl,
    newest_wins,
    not_before,
)


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.public.golden_records",
        target="smart_citizen.public.profile_data",
        key=("record_id",),
        conflict=newest_wins("source_updated_at"),
        extra_columns=("status",),
        expected_per_day=2_400,
        schedules=(Schedule("0 1 * * *", expected_rows=100_000),),
        rules=(not_before("updated_at", "created_at"),),
        columns=(
            Column("record_id", "gr_id", required=True),
            Column("family_id", first_of("family_id", "gr_id")),  # NULL for the head of a family
            Column("jan_aadhaar"),  # this column and the next two are masked by policy
            Column("mobile_number"),
            Column("email"),
            Column("full_name"),
            Column("date_of_birth"),
            Column("gender", default="UNKNOWN"),
            Column("district_id"),
            Column("city", "city_village"),
            Column("source_updated_at", "updated_at", required=True),
            Column("synced_at", SyncTime()),
        ),
    )


@hookimpl
def sink_filter(event: Event, ctx: Context) -> FilterResult:
    if (event.row["status"] or "active").lower() in {"inactive", "merged"}:
        return FilterResult.REMOVE
    fresh = event.age(event.row["updated_at"]) <= timedelta(days=30)
    return FilterResult.PASS if ctx.batch or fresh else FilterResult.DROP
