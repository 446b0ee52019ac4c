"""smart_citizen.public.service_applications -> smart_warehouse.decision.application_events.

A row of the target is an event: an application got a status, at a time.
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
# A row of a snapshot or a batch run has a status, but not the time when the application got it: if
# the last event of the application has the same type, the row is that event.  A row of the log may
# be older than such an event: if the next event in time has the same type, the row is that event.
# The query reads the mapping's own target, so it runs in the transaction that writes.
_FIRST_EVENT_TIME = Lookup(
    """
    SELECT e.id, e.type, e.at, e.estimated, coalesce(known.at, e.at::timestamp)
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS e (id, type, at, estimated)
    LEFT JOIN LATERAL (
      SELECT event_type AS type, event_timestamp AS at
      FROM decision.application_events
      WHERE application_id = e.id::uuid
        AND (e.estimated::boolean OR event_timestamp >= e.at::timestamp)
      ORDER BY CASE WHEN e.estimated::boolean THEN event_timestamp END DESC,
        event_timestamp, event_type = e.type DESC LIMIT 1
    ) known ON known.type = e.type
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


def _has_status(status: str | None, expected: str) -> bool:
    return (status or "").upper() == expected


def _approval_time(row: tuple[str | None, _Time, _Time]) -> _Time:
    """Return when the application was approved, or else when its row changed."""
    status, approved, updated = row
    return (approved or updated) if _has_status(status, "APPROVED") else None


def _status_time(row: tuple[str | None, _Time, _Time]) -> _Time:
    """Return when the application was submitted, or when its status changed.

    `approved_at` is not used: it may keep its value when an application is approved again.
    """
    status, submitted, updated = row
    return submitted if _has_status(status, "SUBMITTED") else updated


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.service_applications",
        target="smart_warehouse.decision.application_events",
        key=("application_id", "event_type", "event_timestamp"),
        conflict=insert_once(),
        expected_per_day=5_000,
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
                convert=_status_time,
                required=True,
                lookup=_FIRST_EVENT_TIME,
            ),
            Column(
                "approval_timestamp",
                all_of("status", "approved_at", "updated_at"),
                convert=_approval_time,
            ),
        ),
    )


@hookimpl
def sink_filter(event: Event) -> FilterResult:
    """Pass changes to a status that has an event."""
    status = (event.row["status"] or "").upper()
    before = event.before
    same = before is not None and (before["status"] or "").upper() == status
    return FilterResult.DROP if same or status not in _EVENTS else FilterResult.PASS


@hookimpl
def sink_map(event: Event, row: Row) -> Row:
    """Give the lookup the event, and whether its time is an estimate."""
    at, status = row["event_timestamp"], event.row["status"]
    if at is None and not _has_status(status, "SUBMITTED"):
        at = event.committed_at
        if _has_status(status, "APPROVED") and row["approval_timestamp"] is None:
            row["approval_timestamp"] = at
    if at is not None:
        estimated = event.op is Op.READ and not _has_status(status, "SUBMITTED")
        row["event_timestamp"] = (
            event.row["id"],
            row["event_type"],
            at.isoformat(),
            str(estimated),
        )
    return row
