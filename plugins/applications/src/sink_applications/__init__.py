"""smart_citizen.public.service_applications -> smart_warehouse.decision.application_events.

A row of the target is not an image of a row of the source: it says that an application came to
a status, and when.
"""

from datetime import datetime

from sink_runner.plugin import (
    Column,
    Event,
    FilterResult,
    Ignore,
    Lookup,
    Op,
    Row,
    TableMapping,
    all_of,
    hookimpl,
    insert_once,
    not_before,
)

_Time = datetime | None
_EVENTS = {
    "SUBMITTED": "APPLICATION_SUBMITTED",
    "APPROVED": "APPLICATION_APPROVED",
    "REJECTED": "APPLICATION_REJECTED",
    "WITHDRAWN": "APPLICATION_WITHDRAWN",
    "CANCELLED": "APPLICATION_WITHDRAWN",
}
_AADHAAR = Lookup(
    "SELECT id::text, aadhaar_number FROM public.citizens WHERE id = ANY (%s::uuid[])",
    database="smart_citizen",
)
_CITIZEN_ID = Lookup(
    "SELECT jan_aadhaar, citizen_id FROM public.golden_records WHERE jan_aadhaar = ANY (%s)",
    database="smart_warehouse",
)
_CODE = Lookup(
    "SELECT id::text, code FROM public.schemes WHERE id = ANY (%s::uuid[])",
    database="smart_citizen",
)
_KNOWN_CODE = Lookup(
    "SELECT scheme_code, scheme_code FROM public.scheme_master WHERE scheme_code = ANY (%s)",
    database="smart_warehouse",
)
# A row that was read tells a status but not since when: if the application's last event has the
# same type, it is that one.  Likewise an event that is older than such a row: if the next event in
# time has the same type, it is that one.  The query reads the mapping's own target, so it runs in
# the write transaction.
_SINCE = Lookup(
    """
    SELECT asked.id, asked.type, asked.at, asked.unsure, coalesce(known.at, asked.at::timestamp)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS asked (id, type, at, unsure)
    LEFT JOIN LATERAL (
      SELECT event_type AS type, event_timestamp AS at
      FROM decision.application_events
      WHERE application_id = asked.id::uuid
        AND (asked.unsure::boolean OR event_timestamp >= asked.at::timestamp)
      ORDER BY CASE WHEN asked.unsure::boolean THEN event_timestamp END DESC,
        event_timestamp, event_type = asked.type DESC LIMIT 1
    ) known ON known.type = asked.type
    """,
    database="smart_warehouse",
    made_of=(
        "smart_warehouse.decision.application_events.event_timestamp",
        "smart_citizen.public.service_applications.updated_at",
        "smart_citizen.public.service_applications.submission_date",
    ),
)


def _event_type(status: str) -> str | None:
    return _EVENTS.get(status.upper())


def _is(status: str | None, wanted: str) -> bool:
    return (status or "").upper() == wanted


def _approved(row: tuple[str | None, _Time, _Time]) -> _Time:
    """When the application was approved; the change of the status where nothing else is known."""
    status, approved, updated = row
    return (approved or updated) if _is(status, "APPROVED") else None


def _changed(row: tuple[str | None, _Time, _Time]) -> _Time:
    """When the application was submitted, or when its status changed.

    `approved_at` is not that time: it may stay what it was when an application is approved again.
    """
    status, submitted, updated = row
    return submitted if _is(status, "SUBMITTED") else updated


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.service_applications",
        target="smart_warehouse.decision.application_events",
        key=("application_id", "event_type", "event_timestamp"),
        conflict=insert_once(),
        needs_before_image=True,
        on_delete=Ignore(),
        on_remove=Ignore(),
        rules=(not_before("updated_at", "created_at"),),
        columns=(
            Column("application_id", "id", required=True),
            Column("citizen_id", lookup=(_AADHAAR, _CITIZEN_ID)),
            Column("scheme_code", "scheme_id", lookup=(_CODE, _KNOWN_CODE), must_resolve=True),
            Column("event_type", "status", convert=_event_type, required=True),
            Column(
                "event_timestamp",
                all_of("status", "submission_date", "updated_at"),
                convert=_changed,
                required=True,
                lookup=_SINCE,
            ),
            Column(
                "approval_timestamp",
                all_of("status", "approved_at", "updated_at"),
                convert=_approved,
            ),
        ),
    )


@hookimpl
def sink_filter(event: Event) -> FilterResult:
    """Only what brings an application to a status that has an event."""
    status = (event.row["status"] or "").upper()
    before = event.before
    same = before is not None and (before["status"] or "").upper() == status
    return FilterResult.DROP if same or status not in _EVENTS else FilterResult.PASS


@hookimpl
def sink_map(event: Event, row: Row) -> Row:
    """Name the event for the lookup, and whether its time is a guess."""
    at, status = row["event_timestamp"], event.row["status"]
    read = event.op is Op.READ
    if at is None and not _is(status, "SUBMITTED"):
        at = event.committed_at
        if _is(status, "APPROVED") and row["approval_timestamp"] is None:
            row["approval_timestamp"] = at
    if at is not None:
        unsure = read and not _is(status, "SUBMITTED")
        asked = (event.row["id"], row["event_type"], at.isoformat(), str(unsure))
        row["event_timestamp"] = asked
    return row
