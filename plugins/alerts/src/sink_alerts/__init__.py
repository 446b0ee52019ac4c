"""smart_warehouse.alerts.ml_alert_outbox -> smart_citizen.public.ml_alerts."""

from sink_runner.plugin import Column, Ignore, Lookup, TableMapping, hookimpl, insert_once

# The head of the family, else the verified member who was created first.  A head may have no
# family id; then its own record is the family.
_CITIZEN = Lookup(
    """
    SELECT DISTINCT ON (f.family) f.family, c.id
    FROM unnest(%s::text[]) AS f (family)
    JOIN public.citizen_identity_map m ON m.family_id = f.family::uuid
      OR (m.family_id IS NULL AND m.gr_id = f.family::uuid)
    JOIN public.citizens c ON c.id = m.citizen_id
    WHERE m.is_family_head OR upper(c.verification_status) = 'VERIFIED'
    ORDER BY f.family, m.is_family_head DESC, c.created_at, c.id
    """,
    database="smart_citizen",
)


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.alerts.ml_alert_outbox",
        target="smart_citizen.public.ml_alerts",
        key=("alert_id",),
        conflict=insert_once(),
        expected_per_day=20_000,
        on_delete=Ignore(),  # the owner of an outbox empties it
        on_remove=Ignore(),
        columns=(
            Column("alert_id", required=True),
            Column("citizen_id", "family_id", required=True, lookup=_CITIZEN),
            Column("alert_type", required=True),
            Column(
                "severity",
                required=True,
                one_of=frozenset({"LOW", "MEDIUM", "HIGH", "CRITICAL"}),
            ),
            Column("message", required=True),  # masked by policy
            Column("action_url"),
            Column("created_at", required=True),
        ),
    )
