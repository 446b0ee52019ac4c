"""smart_citizen.public.citizens -> smart_warehouse.public.golden_records."""

from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Constant,
    Event,
    FilterResult,
    Ignore,
    Lookup,
    Review,
    SetColumns,
    TableMapping,
    Tie,
    hookimpl,
    merge_changed,
    not_before,
)

# Names differ in case, blanks and wording.  An alias wins over a name, because one district is in
# the table twice, under two names.
_DISTRICT = Lookup(
    """
    SELECT DISTINCT ON (name) name, district_id FROM (
      SELECT alias_norm AS name, district_id, 0 AS rank FROM public.district_alias
      UNION ALL
      SELECT lower(regexp_replace(btrim(district_name), '\\s+', ' ', 'g')), district_id, 1
      FROM public.districts
    ) known WHERE name = ANY (%s) ORDER BY name, rank, district_id
    """,
    database="smart_warehouse",
    made_of=(
        "smart_warehouse.public.district_alias.district_id",
        "smart_warehouse.public.districts.district_id",
    ),
)


def _normalized(district: str) -> str:
    return " ".join(district.lower().split())


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.citizens",
        target="smart_warehouse.public.golden_records",
        key=("jan_aadhaar",),
        conflict=merge_changed("source_updated_at"),
        expected_per_day=20_000,
        conflict_detection=ConflictDetection(tie=Tie.SOURCE, owner_time="updated_at"),
        needs_before_image=True,
        extra_columns=("verification_status", "status"),
        rules=(not_before("updated_at", "created_at"),),
        on_delete=Review("deletion_conflict"),
        # Most golden records have no citizen in the portal, so a batch run removes none.
        on_remove=Ignore(),
        on_key_change=SetColumns(
            {"review_required": True, "review_reason": "Aadhaar corrected in the portal"}
        ),
        columns=(
            Column("jan_aadhaar", "aadhaar_number", required=True),
            Column("full_name"),
            Column("date_of_birth"),
            Column("gender", convert=str.capitalize),  # MALE in the portal, Male in the warehouse
            Column("mobile_number"),
            Column("email"),
            Column("city_village", "city"),
            Column("district_id", "district", convert=_normalized, lookup=_DISTRICT),
            Column("pincode"),
            Column("source_updated_at", "updated_at", required=True),
            Column("updated_by", Constant("citizen_portal")),
            Column("review_required", Constant(value=True), insert_only=True),
            Column("review_reason", Constant("no golden record has this number"), insert_only=True),
        ),
    )


@hookimpl
def sink_filter(event: Event) -> FilterResult:
    """Pass verified, active citizens with an Aadhaar number."""
    row = event.row
    verified = (row["verification_status"] or "").upper() == "VERIFIED"
    active = (row["status"] or "").upper() in {"ACTIVE", "VERIFIED"}
    return FilterResult.PASS if verified and active and row["aadhaar_number"] else FilterResult.DROP
