"""smart_citizen.public.user_behavior_events -> smart_warehouse.analytics.user_behavior.

The source database counts the events by citizen, type and day; single events are never read.
"""

from datetime import timedelta

from sink_runner.plugin import (
    Column,
    Lookup,
    Query,
    Schedule,
    TableMapping,
    hookimpl,
    not_before,
    source_wins,
)

_TYPES = frozenset(
    {
        *("PAGE_VIEW", "SCHEME_CLICK", "ELIGIBILITY_CHECK", "APPLICATION_START"),
        *("APPLICATION_COMPLETE", "DOCUMENT_UPLOAD", "SEARCH_QUERY"),
    }
)
# UTC days that are over: those that had not ended at the last run, and those with a new event since
# then.  One hour is added, because a run does not read all days at its start.
_DAYS = """
WITH day AS (
  SELECT DISTINCT occurred_at::date AS day
  FROM public.user_behavior_events
  WHERE occurred_at < (now() AT TIME ZONE 'UTC')::date
    AND ({changed} OR occurred_at >= ({since} - interval '1 hour')::date)
)
SELECT citizen_id, event_type, day AS event_date, count(*) AS event_count,
       coalesce(sum(duration_seconds), 0) AS total_duration_seconds,
       min(occurred_at) AS first_event_at, max(occurred_at) AS last_event_at
FROM day JOIN public.user_behavior_events ON occurred_at >= day AND occurred_at < day + 1
GROUP BY citizen_id, event_type, day
"""
_EVENTS = "smart_citizen.public.user_behavior_events"
_MADE_OF = {
    "event_date": (f"{_EVENTS}.occurred_at",),
    "event_count": (f"{_EVENTS}.event_id",),
    "total_duration_seconds": (f"{_EVENTS}.duration_seconds",),
    "first_event_at": (f"{_EVENTS}.occurred_at",),
    "last_event_at": (f"{_EVENTS}.occurred_at",),
}
_AADHAAR = Lookup(
    "SELECT id::text, aadhaar_number FROM public.citizens WHERE id = ANY (%s::uuid[])",
    database="smart_citizen",
)
_CITIZEN_ID = Lookup(
    "SELECT jan_aadhaar, citizen_id FROM public.golden_records WHERE jan_aadhaar = ANY (%s)",
    database="smart_warehouse",
)


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_citizen.public.user_behavior_events",
        target="smart_warehouse.analytics.user_behavior",
        key=("citizen_id", "event_type", "event_date"),
        conflict=source_wins(),
        streaming=False,
        schedules=(Schedule("0 2 * * *", expected=timedelta(minutes=15), expected_rows=50_000),),
        query=Query(select=_DAYS, replaces=("event_date",), made_of=_MADE_OF),
        rules=(not_before("last_event_at", "first_event_at"),),
        columns=(
            Column("citizen_id", required=True, lookup=(_AADHAAR, _CITIZEN_ID)),
            Column("event_type", required=True, one_of=_TYPES),
            Column("event_date", required=True),
            Column("event_count", minimum=1),
            Column("total_duration_seconds"),
            Column("first_event_at"),
            Column("last_event_at"),
        ),
    )
