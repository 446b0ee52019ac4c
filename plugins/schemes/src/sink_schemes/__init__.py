"""smart_warehouse.public.scheme_master -> smart_citizen.public.schemes."""

from datetime import timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

from sink_runner.plugin import (
    Column,
    Event,
    FilterResult,
    Schedule,
    SetColumns,
    TableMapping,
    hookimpl,
    not_before,
    source_wins,
)

_CATEGORIES = frozenset({"HEALTH", "FOOD", "EDUCATION", "HOUSING", "SOCIAL_SECURITY", "LIVELIHOOD"})
# Applications refer to schemes, so a scheme is never deleted.
_INACTIVE = SetColumns({"status": "INACTIVE"})


def _id(code: str) -> UUID:
    """Return an id that is the same in every run."""
    return uuid5(NAMESPACE_OID, code)


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.public.scheme_master",
        target="smart_citizen.public.schemes",
        key=("code",),
        conflict=source_wins(),
        streaming=False,
        schedules=(
            Schedule("0 0 * * *", full=True, expected=timedelta(minutes=5), expected_rows=200),
        ),
        shared_target=True,  # the portal has schemes that the warehouse lacks
        on_delete=_INACTIVE,
        on_remove=_INACTIVE,
        rules=(not_before("updated_at", "created_at"),),
        columns=(
            Column("id", "scheme_code", convert=_id, insert_only=True),
            Column("code", "scheme_code", required=True),
            Column("name", "scheme_name", required=True),
            Column("description"),
            Column("category", one_of=_CATEGORIES),
            Column("department", "department_name"),
            Column("eligibility_criteria", "eligibility_criteria_json"),
            Column("benefits", "benefits_json"),
            Column("documents_required", "documents_required_json"),
            Column("status", convert=str.upper),
            Column("last_updated", "updated_at"),
        ),
    )


@hookimpl
def sink_filter(event: Event) -> FilterResult:
    is_active = (event.row["status"] or "").upper() == "ACTIVE"
    return FilterResult.PASS if is_active else FilterResult.REMOVE
