"""How long a change takes from its commit in the source to its commit in the target.

Both commits are told by PostgreSQL, which keeps the time of each transaction; both databases are
of one server, so it is one clock.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from .cast import Cast
from .story_warehouse import ago

PROBES = 40
_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Where a flow's probes are found: tables and the columns that hold one key."""

    source: tuple[str, str]
    target: tuple[str, str]
    to_portal: bool = True
    limit: float = 5.0
    """Seconds, p95."""


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


def probe(cast: Cast) -> dict[str, list[str]]:
    """One new row for each flow, again and again; the keys by flow."""
    citizen, family = cast.person(), cast.people.uuid()
    cast.member(family, is_family_head=True)
    keys: dict[str, list[str]] = {flow: [] for flow in FLOWS}
    applied = [cast.apply(citizen) for _ in range(PROBES)]
    time.sleep(3)  # a decision's application has to be there
    for before, _ in pairwise([*applied, ""]):
        for flow, key in _one(cast, citizen, family, before):
            keys[flow].append(str(key))
        time.sleep(_PAUSE)
    return keys


def measured(cast: Cast, keys: Mapping[str, list[str]]) -> Iterator[tuple[str, list[float]]]:
    """The seconds that each probe of each flow took; a probe that did not arrive is an error."""
    for name, flow in FLOWS.items():
        here, there = cast.warehouse, cast.citizen
        source, target = (here, there) if flow.to_portal else (there, here)
        left = _commits(source, flow.source, keys[name])
        arrived = _commits(target, flow.target, keys[name])
        assert left.keys() == arrived.keys(), f"{name}: some probes did not arrive"
        yield name, [arrived[key] - left[key] for key in left]


def percentile(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


def _one(cast: Cast, citizen: str, family: str, decided: str) -> Iterator[tuple[str, Any]]:
    head, number = cast.golden(), cast.people.number()
    yield "2 golden-records", head
    cast.profile(head, created_at=ago(days=1), updated_at=ago())
    yield "3 profiles", head
    cast.snapshot(head, "NREGA", "0.5")
    yield "4 eligibility-snapshots", head
    yield "5 benefit-forecasts", cast.forecast(head, generated_at=ago())
    cast.decide(decided)
    yield "6 decisions", decided
    yield "7 alerts", cast.alert(family)
    cast.account(number)
    yield "8 citizens", number
    yield "9 applications", cast.apply(citizen)
    yield "10 documents", cast.document(citizen)


_COMMITS: LiteralString = """SELECT {key}::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))
                            FROM {table} WHERE {key}::text = ANY(%s)"""


def _commits(
    connection: psycopg.Connection, place: tuple[str, str], keys: list[str]
) -> dict[str, float]:
    table, key = place
    statement = sql.SQL(_COMMITS).format(
        key=sql.Identifier(key), table=sql.Identifier(*table.split("."))
    )
    return {name: float(moment) for name, moment in connection.execute(statement, [keys])}
