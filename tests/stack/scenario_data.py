"""The test data of the scenario: random people of both databases, and their records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from . import writes
from .people import People

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "public.profile_360": {"profile_data": {}, "vulnerability_level": "MEDIUM"},
    "public.scheme_master": {"scheme_name": "A scheme", "category": "HEALTH"},
    "eligibility.eligibility_snapshots": {"evaluation_status": "RULE_ELIGIBLE"},
    "forecast.benefit_forecasts": {
        "projections": [{"scheme_code": "NREGA", "benefit_amount": 500, "officer": "Asha"}]
    },
    "decision.applications": {"decision": "ROUTE_TO_OFFICER", "reasons": ["Decided"]},
    "alerts.ml_alert_outbox": {"alert_type": "NUDGE", "severity": "LOW", "message": "Look here"},
    "public.service_applications": {"service_type": "GENERAL", "status": "SUBMITTED"},
    "public.documents": {"document_type": "PHOTO", "document_name": "p.png", "file_path": "/p"},
    "public.feedback": {"type": "FEEDBACK", "message": "It takes too long."},
    "public.user_behavior_events": {"event_type": "PAGE_VIEW"},
}
_IN_PORTAL = frozenset(
    {"public.service_applications", "public.documents", "public.feedback", "public.citizens"}
    | {"public.user_behavior_events", "public.citizen_identity_map", "public.schemes"}
)


@dataclass(slots=True, kw_only=True)
class ScenarioData:
    """Writes rows of the scenario; each statement is a transaction, unless the caller opens one."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    people: People
    _serial: int = field(default=0)

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def connection_for(self, table: str) -> psycopg.Connection:
        return self.citizen if table in _IN_PORTAL else self.warehouse

    def insert(self, table: str, **columns: Any) -> None:
        writes.insert(
            self.connection_for(table), table, _adapted({**DEFAULTS.get(table, {}), **columns})
        )

    def update(self, table: str, key: tuple[str, Any], **columns: Any) -> None:
        writes.update(self.connection_for(table), table, key, _adapted(columns))

    def delete(self, table: str, key: tuple[str, Any]) -> None:
        writes.delete(self.connection_for(table), table, key)

    def insert_golden(self, **columns: Any) -> str:
        """Insert a golden record with a new number and id; return its key."""
        key = self.people.uuid()
        identity = {
            "jan_aadhaar": self.people.number(),
            "citizen_id": f"RJ9{self.next_serial():07}",
        }
        row = {**self.people.golden_values(), **identity, **columns}
        self.insert("public.golden_records", gr_id=key, **row)
        return key

    def insert_account(self, number: str | None, **columns: Any) -> str:
        """Insert a verified, active citizen of the portal; return its key."""
        key = self.people.uuid()
        states = {"verification_status": "VERIFIED", "status": "ACTIVE"}
        row = {**self.people.citizen_values(), **states, **columns}
        self.insert("public.citizens", id=key, aadhaar_number=number, **row)
        return key

    def insert_person(self) -> str:
        """Insert a citizen with a golden record; return the citizen's key."""
        number = self.people.number()
        self.insert_golden(jan_aadhaar=number)
        return self.insert_account(number)

    def insert_member(self, family: str, **columns: Any) -> str:
        """Insert a citizen who belongs to a family; return the citizen's key."""
        citizen = self.insert_person()
        self.insert("public.citizen_identity_map", citizen_id=citizen, family_id=family, **columns)
        return citizen

    def insert_profile(self, gr_id: str, **columns: Any) -> None:
        self.insert("public.profile_360", gr_id=gr_id, **columns)

    def insert_snapshot(self, family: str, code: str, score: str, **columns: Any) -> int:
        """Insert an eligibility evaluation; return its key."""
        key = 90_000_000 + self.next_serial()
        scores = {"eligibility_score": score, "confidence_score": "0.5"}
        row = {"snapshot_id": key, "family_id": family, "scheme_code": code, **scores, **columns}
        self.insert("eligibility.eligibility_snapshots", **row)
        return key

    def insert_forecast(self, family: str, **columns: Any) -> int:
        key = 90_000_000 + self.next_serial()
        self.insert("forecast.benefit_forecasts", forecast_id=key, family_id=family, **columns)
        return key

    def insert_decision(self, application: str, **columns: Any) -> None:
        self.insert("decision.applications", application_id=application, **columns)

    def insert_alert(self, family: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("alerts.ml_alert_outbox", alert_id=key, family_id=family, **columns)
        return key

    def insert_application(self, citizen: str, **columns: Any) -> str:
        """Insert an application, with the `id` of `columns` if there is one; return its key."""
        key = str(columns.pop("id", None) or self.people.uuid())
        self.insert("public.service_applications", id=key, citizen_id=citizen, **columns)
        return key

    def insert_document(self, citizen: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("public.documents", id=key, citizen_id=citizen, **columns)
        return key

    def insert_feedback(self, citizen: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("public.feedback", id=key, citizen_id=citizen, **columns)
        return key

    def insert_behaviour_event(self, citizen: str, day: str, **columns: Any) -> None:
        self.insert("public.user_behavior_events", citizen_id=citizen, occurred_at=day, **columns)


def _adapted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
