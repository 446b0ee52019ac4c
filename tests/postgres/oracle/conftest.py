"""Two empty databases whose changes are recorded; each test is rolled back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from ...oracle import history
from ...oracle.history import Row
from ...oracle.session import compute_rows, open_session


def uuid_of(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, name))


_DATABASE_NAMES = ("smart_warehouse", "smart_citizen")
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "public.golden_records": {},
    "public.profile_360": {"profile_data": "{}", "created_at": "2020-01-01"},
    "forecast.benefit_forecasts": {"family_id": uuid_of("family")},
    "public.scheme_master": {"scheme_name": "A scheme", "category": "HEALTH"},
    "decision.applications": {"decision": "AUTO_APPROVE"},
    "alerts.ml_alert_outbox": {"alert_type": "NUDGE", "severity": "LOW", "message": "Look"},
    "public.citizen_identity_map": {},
    "public.user_behavior_events": {"event_type": "PAGE_VIEW"},
    "public.citizens": {"full_name": "Asha", "mobile_number": "0123456789"},
    "public.schemes": {"name": "A scheme"},
    "public.service_applications": {"service_type": "GENERAL"},
    "public.documents": {"document_type": "PHOTO", "file_path": "/x"},
    "public.feedback": {"type": "FEEDBACK", "message": "Well"},
}
_PORTAL_TABLES = frozenset(
    {"public.citizens", "public.schemes", "public.service_applications", "public.documents"}
    | {"public.feedback", "public.citizen_identity_map", "public.user_behavior_events"}
)


@dataclass(slots=True, kw_only=True)
class Databases:
    """Writes rows of both databases, and records when batch runs read them."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    runs: list[tuple[str, datetime]] = field(default_factory=list)

    def insert(self, table: str, **columns: Any) -> None:
        row = {**_DEFAULTS[table], **columns}
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        placeholders = sql.SQL(", ").join([sql.Placeholder()] * len(row))
        self._execute(
            table, sql.SQL("INSERT INTO {} ({}) VALUES ({})"), names, placeholders, row.values()
        )

    def _execute(self, table: str, text: sql.SQL, *parts: Any) -> None:
        *composed, values = parts
        connection = self.citizen if table in _PORTAL_TABLES else self.warehouse
        name = sql.Identifier(*table.split("."))
        parameters = [Jsonb(value) if isinstance(value, dict | list) else value for value in values]
        connection.execute(text.format(name, *composed), parameters)

    def update(self, table: str, key: tuple[str, Any], **columns: Any) -> None:
        sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(n)) for n in columns)
        text = sql.SQL("UPDATE {} SET {} WHERE {} = %s")
        self._execute(table, text, sets, sql.Identifier(key[0]), [*columns.values(), key[1]])

    def delete(self, table: str, **key: Any) -> None:
        ((name, value),) = key.items()
        self._execute(table, sql.SQL("DELETE FROM {} WHERE {} = %s"), sql.Identifier(name), [value])

    def record_batch_run(self, flow: str) -> None:
        self.runs.append((flow, datetime.now(UTC)))

    def compute_rows(self, flow: str) -> dict[str, Row]:
        with open_session(self.warehouse, self.citizen, self.runs) as session:
            return compute_rows(session, flow)


@pytest.fixture(scope="module")
def recorded_connections(postgres) -> Iterator[list[psycopg.Connection]]:
    connections = []
    for name in _DATABASE_NAMES:
        dsn = postgres.dsn(postgres.fresh_database(name))
        connections.append(psycopg.connect(dsn, autocommit=True))
        history.install(connections[-1], name)
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def databases(recorded_connections) -> Iterator[Databases]:
    warehouse, citizen = recorded_connections
    with (
        warehouse.transaction(force_rollback=True),
        citizen.transaction(force_rollback=True),
    ):
        yield Databases(warehouse=warehouse, citizen=citizen)
