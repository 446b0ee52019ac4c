"""smart_warehouse.public.profile_360 -> smart_citizen.public.profile_summary.

A family has one summary: that of the latest profile among its members.
"""

from datetime import timedelta

from sink_runner.plugin import (
    Column,
    Derived,
    Schedule,
    SyncTime,
    TableMapping,
    first_of,
    hookimpl,
    newest_wins,
    not_before,
)

_LATEST = """
SELECT DISTINCT ON (family_id)
       family_id, vulnerability, under_coverage, income_category, region, source_updated_at
FROM {candidates} c
ORDER BY family_id, source_updated_at DESC, _position DESC, _ordinal DESC, profile_id DESC
"""
_LEVELS = frozenset({"VERY_HIGH", "HIGH", "MEDIUM", "LOW", "VERY_LOW"})


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.public.profile_360",
        target="smart_citizen.public.profile_summary",
        key=("family_id",),
        conflict=newest_wins("source_updated_at"),  # between versions of one profile
        derived=Derived(key=("profile_id",), group=("family_id",), select=_LATEST),
        expected_per_day=12_000,
        schedules=(
            Schedule("0 * * * *", expected=timedelta(minutes=10), expected_rows=100_000),
            Schedule(
                "30 0 * * *", full=True, expected=timedelta(minutes=30), expected_rows=100_000
            ),
        ),
        rules=(not_before("updated_at", "created_at"),),
        columns=(
            Column("profile_id", type="bigint", required=True),
            Column("family_id", first_of("family_id", "gr_id"), type="uuid", required=True),
            Column("vulnerability", "vulnerability_level", type="text", one_of=_LEVELS),
            Column("under_coverage", "under_coverage_indicator", type="boolean"),
            # Masked by policy before it is stored, also where it is NULL.
            Column("income_category", "inferred_income_band", type="text"),
            Column("region", "cluster_id", type="text"),
            Column("source_updated_at", "updated_at", type="timestamp", required=True),
            Column("synced_at", SyncTime(), type="timestamp"),
        ),
    )
