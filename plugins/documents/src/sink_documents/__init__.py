"""smart_citizen.public.documents -> smart_warehouse.public.document_metadata."""

from collections.abc import Mapping
from typing import Any

from sink_runner.plugin import (
    Column,
    Constant,
    Lookup,
    Rule,
    SetColumns,
    SyncTime,
    TableMapping,
    hookimpl,
    not_before,
    source_wins,
)

_AADHAAR = Lookup(
    "SELECT id::text, aadhaar_number FROM public.citizens WHERE id = ANY (%s::uuid[])",
    database="smart_citizen",
)
_CITIZEN_ID = Lookup(
    "SELECT jan_aadhaar, citizen_id FROM public.golden_records WHERE jan_aadhaar = ANY (%s)",
    database="smart_warehouse",
)
_STATUSES = frozenset({"PENDING", "VERIFIED", "REJECTED", "EXPIRED"})
_DELETED = SetColumns({"is_deleted": True})


def _is_known(row: Mapping[str, Any]) -> bool:
    status = row["verification_status"]
    return status is None or status.upper() in _STATUSES


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.documents",
        target="smart_warehouse.public.document_metadata",
        key=("document_id",),
        conflict=source_wins(),
        expected_per_day=15_000,
        on_delete=_DELETED,
        on_remove=_DELETED,
        rules=(
            Rule("verification status is known", _is_known, reads=("verification_status",)),
            not_before("updated_at", "created_at"),
        ),
        columns=(
            Column("document_id", "id", required=True),
            Column("citizen_id", lookup=(_AADHAAR, _CITIZEN_ID)),
            Column("document_type", required=True),
            Column("file_name", "document_name"),
            Column("file_size", minimum=0),
            Column("uploaded_at", required=True),
            Column("verification_status"),
            Column("is_deleted", Constant(value=False)),
            Column("synced_at", SyncTime()),
        ),
    )
