"""The latency of each flow, from the commit in the source to the commit in the target.

PostgreSQL records the commit time of each transaction. Both databases are on one server and have
one clock.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from .scenario_data import ScenarioData
from .warehouse_changes import ago

PROBES = 40
_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Table and key column of a flow's rows in the source and in the target."""

    source: tuple[str, str]
    target: tuple[str, str]
    to_portal: bool = True
    limit: float = 5.0
    """The limit of the 95th percentile, in seconds."""


FLOWS: Mapping[str, Flow] = {
    "2 golden-records": Flow(
        source=("public.golden_records", "gr_id"), target=("public.profile_data", "record_id")
    ),
    "3 profiles": Flow(
        source=("public.profile_360", "gr_id"), target=("public.profile_summary", "family_id")
    ),
    "4 eligibility-snapshots": Flow(
        source=("eligibility.eligibility_snapshots", "family_id"),
        target=("public.eligibility_hints", "family_id"),
    ),
    "5 benefit-forecasts": Flow(
        source=("forecast.benefit_forecasts", "forecast_id"),
        target=("public.benefit_forecasts", "forecast_id"),
        limit=2.0,
    ),
    "6 decisions": Flow(
        source=("decision.applications", "application_id"),
        target=("public.application_decisions", "application_id"),
    ),
    "7 alerts": Flow(
        source=("alerts.ml_alert_outbox", "alert_id"), target=("public.ml_alerts", "alert_id")
    ),
    "8 citizens": Flow(
        source=("public.citizens", "aadhaar_number"),
        target=("public.golden_records", "jan_aadhaar"),
        to_portal=False,
    ),
    "9 applications": Flow(
        source=("public.service_applications", "id"),
        target=("decision.application_events", "application_id"),
        to_portal=False,
    ),
    "10 documents": Flow(
        source=("public.documents", "id"),
        target=("public.document_metadata", "document_id"),
        to_portal=False,
    ),
}


def probe(data: ScenarioData) -> dict[str, list[str]]:
    """Insert PROBES rows for each flow; return their keys by flow."""
    citizen, family = data.insert_person(), data.people.uuid()
    data.insert_member(family, is_family_head=True)
    keys: dict[str, list[str]] = {flow: [] for flow in FLOWS}
    applications = [data.insert_application(citizen) for _ in range(PROBES)]
    time.sleep(3)  # decisions need their applications in the target
    for application, _ in pairwise([*applications, ""]):
        for flow, key in _insert_probes(data, citizen, family, application):
            keys[flow].append(str(key))
        time.sleep(_PAUSE)
    return keys


def measure(data: ScenarioData, keys: Mapping[str, list[str]]) -> Iterator[tuple[str, list[float]]]:
    """Yield the latencies of each flow in seconds; fail if a probe is missing in the target."""
    for name, flow in FLOWS.items():
        databases = data.warehouse, data.citizen
        source, target = databases if flow.to_portal else databases[::-1]
        sent = _commits(source, flow.source, keys[name])
        arrived = _commits(target, flow.target, keys[name])
        assert sent.keys() == arrived.keys(), f"{name}: some probes did not arrive"
        yield name, [arrived[key] - sent[key] for key in sent]


def percentile(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


def _insert_probes(
    data: ScenarioData, citizen: str, family: str, application: str
) -> Iterator[tuple[str, Any]]:
    head, number = data.insert_golden(), data.people.number()
    yield "2 golden-records", head
    data.insert_profile(head, created_at=ago(days=1), updated_at=ago())
    yield "3 profiles", head
    data.insert_snapshot(head, "NREGA", "0.5")
    yield "4 eligibility-snapshots", head
    yield "5 benefit-forecasts", data.insert_forecast(head, generated_at=ago())
    data.insert_decision(application)
    yield "6 decisions", application
    yield "7 alerts", data.insert_alert(family)
    data.insert_account(number)
    yield "8 citizens", number
    yield "9 applications", data.insert_application(citizen)
    yield "10 documents", data.insert_document(citizen)


_COMMITS: LiteralString = """SELECT {key}::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))
                            FROM {table} WHERE {key}::text = ANY(%s)"""


def _commits(
    connection: psycopg.Connection, column: tuple[str, str], keys: list[str]
) -> dict[str, float]:
    table, key = column
    statement = sql.SQL(_COMMITS).format(
        key=sql.Identifier(key), table=sql.Identifier(*table.split("."))
    )
    return {name: float(moment) for name, moment in connection.execute(statement, [keys])}
