"""smart_warehouse.decision.applications -> smart_citizen.public.application_decisions.

A decision refers to its application by id or by number, so an application may have two decisions.
The newer one is in the target; when it is deleted, the older one replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sink_runner.plugin import (
    Column,
    Context,
    Derived,
    Lookup,
    Row,
    Rule,
    TableMapping,
    all_of,
    hookimpl,
    newest_wins,
)

_APPLICATION = Lookup(
    """
    SELECT d.id, d.number, coalesce(by_id.id, by_number.id)
    FROM unnest(%s::text[], %s::text[]) AS d (id, number)
    LEFT JOIN public.service_applications by_id ON by_id.id = d.id::uuid
    LEFT JOIN public.service_applications by_number ON by_number.application_number = d.number
    """,
    database="smart_citizen",
    made_of=("smart_citizen.public.service_applications.id",),
)
# The portal deletes a decision with its application; the join does not bring it back.
_NEWEST = """
SELECT DISTINCT ON (application_id)
       application_id, decision_status, risk_score, confidence, decision_date, decision_reasons
FROM {candidates} c JOIN public.service_applications a ON a.id = c.application_id
ORDER BY application_id, decision_date DESC, _position DESC, _ordinal DESC, decision_id
"""
_DECISIONS = frozenset(
    {
        *("AUTO_APPROVE", "AUTO_APPROVED", "AUTO_REJECT", "AUTO_REJECTED"),
        *("ROUTE_TO_OFFICER", "ROUTE_TO_FRAUD", "OFFICER_APPROVED", "OFFICER_REJECTED"),
    }
)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The settings of ``[plugins.decisions]``."""

    statuses: Mapping[str, str] = field(default_factory=dict)
    """Translations of a decision for the portal; a decision that is not listed stays as it is."""


@hookimpl
def sink_config() -> type[Decisions]:
    return Decisions


def _is_known(row: Mapping[str, Any]) -> bool:
    return row["decision"] is None or row["decision"] in _DECISIONS  # `required` refuses NULL


def _is_array(row: Mapping[str, Any]) -> bool:
    reasons = row["reasons"]  # JSON is text here
    return reasons is None or reasons.lstrip().startswith("[")


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.decision.applications",
        target="smart_citizen.public.application_decisions",
        key=("application_id",),
        conflict=newest_wins("decision_date"),
        expected_per_day=10_000,
        derived=Derived(key=("decision_id",), group=("application_id",), select=_NEWEST),
        rules=(
            Rule("decision is known", _is_known, reads=("decision",)),
            Rule("reasons is an array", _is_array, reads=("reasons",)),
        ),
        columns=(
            Column("decision_id", "application_id", type="uuid", required=True),
            Column(
                "application_id",
                all_of("application_id", "application_number"),
                type="uuid",
                required=True,
                lookup=_APPLICATION,
            ),
            Column("decision_status", "decision", type="text", required=True),
            Column("risk_score", type="numeric", minimum=0, maximum=1),
            Column("confidence", type="numeric", minimum=0, maximum=1),
            Column("decision_date", "decision_timestamp", type="timestamp", required=True),
            Column("decision_reasons", "reasons", type="jsonb", required=True),
        ),
    )


@hookimpl
def sink_map(row: Row, ctx: Context) -> Row:
    row["decision_status"] = ctx.config.statuses.get(row["decision_status"], row["decision_status"])
    return row
