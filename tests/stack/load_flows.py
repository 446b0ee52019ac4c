"""Random changes of the sources of flows 3, 5, 6, 7, 9 and 10.

The citizens of these applications and documents keep their numbers, and the family of the alerts
keeps its head. Otherwise the result would depend on which of two concurrent changes comes first.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg

from .people import People
from .writes import Action, Remember, delete, insert, update

PROFILES, FORECASTS = "public.profile_360", "forecast.benefit_forecasts"
DECISIONS, ALERTS = "decision.applications", "alerts.ml_alert_outbox"
APPLICATIONS, DOCUMENTS = "public.service_applications", "public.documents"
_CITIZENS = 5
_LEVELS = ("VERY_HIGH", "HIGH", "MEDIUM", "LOW", "VERY_LOW", None)
_BANDS = ("LOW", "UNCERTAIN", None)
_DECISIONS = ("AUTO_APPROVE", "ROUTE_TO_OFFICER", "OFFICER_REJECTED")
_STATES = ("SUBMITTED", "submitted", "UNDER_REVIEW", "APPROVED", "Rejected", "withdrawn", None)
_MESSAGES = ("A benefit ends soon.", "Income band LOW of 012345678901.", "Write to a@example.in")
_CHECKED = ("PENDING", "verified", "REJECTED", "EXPIRED")
_HOUR = 3600


@dataclass(slots=True, kw_only=True)
class Known:
    """Committed keys, shared by both loads; their rows may have been deleted since."""

    heads: list[str]
    profiles: list[str]
    applications: list[str] = field(default_factory=list)
    """Keys of the portal's applications; some get a decision before they exist."""
    documents: list[str] = field(default_factory=list)
    forecasts: list[int] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    citizens: list[str] = field(default_factory=list)
    family: str = ""


def insert_citizens(
    people: People, known: Known, warehouse: psycopg.Connection, citizen: psycopg.Connection
) -> None:
    """Insert a few citizens of one family into both databases; they are never changed."""
    known.family = people.uuid()
    for _ in range(_CITIZENS):
        number, key = people.number(), people.uuid()
        record = {"jan_aadhaar": number, "citizen_id": f"RJ{number[:10]}"}
        insert(warehouse, "public.golden_records", {**record, **people.golden_values()})
        states = {"verification_status": "VERIFIED", "aadhaar_number": number}
        insert(citizen, "public.citizens", {"id": key, **states, **people.citizen_values()})
        known.citizens.append(key)
    row = {"citizen_id": known.citizens[0], "family_id": known.family, "is_family_head": True}
    insert(citizen, "public.citizen_identity_map", row)


@dataclass(slots=True, kw_only=True)
class ModelLoad:
    """Changes of the warehouse: profiles, forecasts, decisions and alerts."""

    people: People
    known: Known

    def actions(self) -> list[tuple[int, Action]]:
        return [
            (12, self.recompute_profile),
            (3, self.move_profile),
            (2, self.replace_profile),
            (8, self.insert_forecast),
            (8, self.change_forecast),
            (2, self.delete_forecast),
            (8, self.insert_decision),
            (8, self.change_decision),
            (2, self.delete_decision),
            (4, self.insert_alert),
        ]

    def recompute_profile(self, connection: psycopg.Connection) -> None:
        """Update a profile; its time may be older than its previous one."""
        key = ("gr_id", self.people.one(self.known.profiles))
        update(connection, PROFILES, key, self._profile())

    def move_profile(self, connection: psycopg.Connection) -> None:
        family = self.people.one(self.known.heads)
        row = {**self._profile(), "family_id": family}
        update(connection, PROFILES, ("gr_id", self.people.one(self.known.profiles)), row)

    def replace_profile(self, connection: psycopg.Connection) -> None:
        key = self.people.one(self.known.profiles)
        delete(connection, PROFILES, ("gr_id", key))
        insert(connection, PROFILES, {"gr_id": key, "profile_data": "{}", **self._profile()})

    def insert_forecast(self, connection: psycopg.Connection) -> Remember:
        key = self.people.random.randrange(10**8, 2 * 10**9)
        family = self.people.one(self.known.heads)
        row = {"forecast_id": key, "family_id": family, **self._forecast()}
        insert(connection, FORECASTS, row)
        return partial(self.known.forecasts.append, key)

    def change_forecast(self, connection: psycopg.Connection) -> None:
        if self.known.forecasts:
            key = ("forecast_id", self.people.one(self.known.forecasts))
            update(connection, FORECASTS, key, self._forecast())

    def delete_forecast(self, connection: psycopg.Connection) -> None:
        if self.known.forecasts:
            delete(connection, FORECASTS, ("forecast_id", self.people.one(self.known.forecasts)))

    def insert_decision(self, connection: psycopg.Connection) -> Remember | None:
        """Insert a decision for an application that may exist, be deleted or never exist."""
        if not self.known.applications:
            return None
        known = self.people.chance(90)
        key = self.people.one(self.known.applications) if known else self.people.uuid()
        insert(connection, DECISIONS, {"application_id": key, **self._decision()})
        return partial(self.known.decisions.append, key)

    def change_decision(self, connection: psycopg.Connection) -> None:
        if self.known.decisions:
            key = ("application_id", self.people.one(self.known.decisions))
            update(connection, DECISIONS, key, self._decision())

    def delete_decision(self, connection: psycopg.Connection) -> None:
        if self.known.decisions:
            delete(connection, DECISIONS, ("application_id", self.people.one(self.known.decisions)))

    def insert_alert(self, connection: psycopg.Connection) -> None:
        row = {"alert_id": self.people.uuid(), "family_id": self.known.family}
        content = {"message": self.people.one(_MESSAGES), "alert_type": "NUDGE", "severity": "LOW"}
        insert(connection, ALERTS, {**row, **content})

    def _profile(self) -> dict[str, Any]:
        return {
            "created_at": "2020-01-01",
            "updated_at": self._recently(),
            "vulnerability_level": self.people.one(_LEVELS),
            "inferred_income_band": self.people.one(_BANDS),
            "cluster_id": f"JAI-{self.people.random.randrange(9)}",
            "under_coverage_indicator": self.people.one((True, False, None)),
        }

    def _forecast(self) -> dict[str, Any]:
        count = self.people.random.randrange(9)
        return {
            "generated_at": self._recently(),
            "scheme_count": count,
            "projections": json.dumps([{"benefit_amount": count}] * count),
        }

    def _decision(self) -> dict[str, Any]:
        return {
            "decision": self.people.one(_DECISIONS),
            "risk_score": self.people.one((None, "0.1234", "1")),
            "decision_timestamp": self._recently(),
        }

    def _recently(self) -> str:
        """Return a recent time, distinct from others: the order of equal ones is not tested."""
        back = timedelta(seconds=self.people.random.random() * _HOUR)
        return (datetime.now(UTC).replace(tzinfo=None) - back).isoformat()


@dataclass(slots=True, kw_only=True)
class ApplicantLoad:
    """Changes of the portal: applications and documents."""

    people: People
    known: Known

    def actions(self) -> list[tuple[int, Action]]:
        return [
            (10, self.insert_application),
            (14, self.change_application_status),
            (2, self.delete_application),
            (8, self.insert_document),
            (5, self.change_document_status),
            (2, self.delete_document),
        ]

    def insert_application(self, connection: psycopg.Connection) -> Remember:
        key, citizen = self.people.uuid(), self.people.one(self.known.citizens)
        row = {"id": key, "citizen_id": citizen, "service_type": "GENERAL"}
        insert(connection, APPLICATIONS, {**row, "status": self.people.one(_STATES)})
        return partial(self.known.applications.append, key)

    def change_application_status(self, connection: psycopg.Connection) -> None:
        if self.known.applications:
            key = ("id", self.people.one(self.known.applications))
            update(connection, APPLICATIONS, key, {"status": self.people.one(_STATES)})

    def delete_application(self, connection: psycopg.Connection) -> None:
        """Delete an application, and by cascade its documents and decision."""
        if self.known.applications:
            delete(connection, APPLICATIONS, ("id", self.people.one(self.known.applications)))

    def insert_document(self, connection: psycopg.Connection) -> Remember | None:
        if not self.known.applications:
            return None
        key = self.people.uuid()
        row = {"id": key, "citizen_id": self.people.one(self.known.citizens), "file_path": "/p"}
        row["application_id"] = self.people.one([None, self.people.one(self.known.applications)])
        insert(connection, DOCUMENTS, {**row, "document_type": "PHOTO", "file_size": 5})
        return partial(self.known.documents.append, key)

    def change_document_status(self, connection: psycopg.Connection) -> None:
        if self.known.documents:
            row = {"verification_status": self.people.one(_CHECKED)}
            update(connection, DOCUMENTS, ("id", self.people.one(self.known.documents)), row)

    def delete_document(self, connection: psycopg.Connection) -> None:
        if self.known.documents:
            delete(connection, DOCUMENTS, ("id", self.people.one(self.known.documents)))
