"""smart_citizen.public.feedback -> smart_warehouse.analytics.feedback_analytics."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sink_runner.plugin import (
    Column,
    Ignore,
    Lookup,
    Rule,
    Schedule,
    SyncTime,
    TableMapping,
    hookimpl,
    insert_once,
    not_before,
)

_TYPES = frozenset({"FEEDBACK", "COMPLAINT", "SUGGESTION", "RATING"})
_AADHAAR = Lookup(
    "SELECT id::text, aadhaar_number FROM public.citizens WHERE id = ANY (%s::uuid[])",
    database="smart_citizen",
)
_CITIZEN_ID = Lookup(
    "SELECT jan_aadhaar, citizen_id FROM public.golden_records WHERE jan_aadhaar = ANY (%s)",
    database="smart_warehouse",
)
_SCHEME_CODE = Lookup(
    """
    SELECT a.id::text, s.code
    FROM public.service_applications a JOIN public.schemes s ON s.id = a.scheme_id
    WHERE a.id = ANY (%s::uuid[])
    """,
    database="smart_citizen",
)


def _is_known(row: Mapping[str, Any]) -> bool:
    return row["type"] is None or row["type"].upper() in _TYPES  # `required` refuses NULL


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.feedback",
        target="smart_warehouse.analytics.feedback_analytics",
        key=("feedback_id",),
        conflict=insert_once(),
        streaming=False,
        schedules=(Schedule("30 2 * * *", expected=timedelta(minutes=5), expected_rows=1_000),),
        on_delete=Ignore(),
        on_remove=Ignore(),
        rules=(
            Rule("type is known", _is_known, reads=("type",)),
            not_before("updated_at", "created_at"),
        ),
        columns=(
            Column("feedback_id", "id", required=True),
            Column("citizen_id", lookup=(_AADHAAR, _CITIZEN_ID)),
            Column("feedback_type", "type", required=True),
            Column("rating", minimum=1, maximum=5),
            Column("comment", "message"),  # masked by policy
            Column("scheme_code", "application_id", lookup=_SCHEME_CODE),
            Column("created_at", required=True),
            Column("synced_at", SyncTime()),
        ),
    )
