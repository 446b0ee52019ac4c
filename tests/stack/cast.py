"""Who the scenario is about: made-up people of both databases, and what they do there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from . import writes
from .people import People

LIKE: Mapping[str, Mapping[str, Any]] = {
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
class Cast:
    """Every statement is a transaction of its own, unless the caller opens one."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    people: People
    _serial: int = field(default=0)

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def of(self, table: str) -> psycopg.Connection:
        return self.citizen if table in _IN_PORTAL else self.warehouse

    def insert(self, table: str, **columns: Any) -> None:
        writes.insert(self.of(table), table, _adapted({**LIKE.get(table, {}), **columns}))

    def update(self, table: str, key: tuple[str, Any], **columns: Any) -> None:
        writes.update(self.of(table), table, key, _adapted(columns))

    def delete(self, table: str, key: tuple[str, Any]) -> None:
        writes.delete(self.of(table), table, key)

    def golden(self, **columns: Any) -> str:
        """A golden record with a number and an id of its own."""
        key = self.people.uuid()
        known = {"jan_aadhaar": self.people.number(), "citizen_id": f"RJ9{self.serial():07}"}
        row = {**self.people.golden_values(), **known, **columns}
        self.insert("public.golden_records", gr_id=key, **row)
        return key

    def account(self, number: str | None, **columns: Any) -> str:
        """A verified, active citizen of the portal."""
        key = self.people.uuid()
        states = {"verification_status": "VERIFIED", "status": "ACTIVE"}
        row = {**self.people.citizen_values(), **states, **columns}
        self.insert("public.citizens", id=key, aadhaar_number=number, **row)
        return key

    def person(self) -> str:
        """A citizen whom the warehouse knows."""
        number = self.people.number()
        self.golden(jan_aadhaar=number)
        return self.account(number)

    def member(self, family: str, **columns: Any) -> str:
        """A citizen whose family the portal knows."""
        citizen = self.person()
        self.insert("public.citizen_identity_map", citizen_id=citizen, family_id=family, **columns)
        return citizen

    def profile(self, gr_id: str, **columns: Any) -> None:
        self.insert("public.profile_360", gr_id=gr_id, **columns)

    def snapshot(self, family: str, code: str, score: str, **columns: Any) -> int:
        """One evaluation; its number is returned."""
        key = 90_000_000 + self.serial()
        scores = {"eligibility_score": score, "confidence_score": "0.5"}
        row = {"snapshot_id": key, "family_id": family, "scheme_code": code, **scores, **columns}
        self.insert("eligibility.eligibility_snapshots", **row)
        return key

    def forecast(self, family: str, **columns: Any) -> int:
        key = 90_000_000 + self.serial()
        self.insert("forecast.benefit_forecasts", forecast_id=key, family_id=family, **columns)
        return key

    def decide(self, application: str, **columns: Any) -> None:
        self.insert("decision.applications", application_id=application, **columns)

    def alert(self, family: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("alerts.ml_alert_outbox", alert_id=key, family_id=family, **columns)
        return key

    def apply(self, citizen: str, **columns: Any) -> str:
        """An application, under an id that may be given."""
        key = str(columns.pop("id", None) or self.people.uuid())
        self.insert("public.service_applications", id=key, citizen_id=citizen, **columns)
        return key

    def document(self, citizen: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("public.documents", id=key, citizen_id=citizen, **columns)
        return key

    def say(self, citizen: str, **columns: Any) -> str:
        key = self.people.uuid()
        self.insert("public.feedback", id=key, citizen_id=citizen, **columns)
        return key

    def click(self, citizen: str, day: str, **columns: Any) -> None:
        self.insert("public.user_behavior_events", citizen_id=citizen, occurred_at=day, **columns)


def _adapted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
