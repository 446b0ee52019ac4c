"""All twelve targets beside what they should hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from . import history, scrubbed
from .both import both, expected
from .comparison import Difference, differences
from .history import Row

_TEXTS: Mapping[str, tuple[str, Any]] = {
    "ml_alerts": ("message", scrubbed.ALERT),
    "feedback_analytics": ("comment", scrubbed.COMMENT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a flow writes, and how its rows are named."""

    query: LiteralString
    key: tuple[str, ...]
    in_portal: bool = True

    def rows(self, warehouse: psycopg.Connection, citizen: psycopg.Connection) -> dict[str, Row]:
        found = history.rows(citizen if self.in_portal else warehouse, self.query)
        return {" ".join(str(row[name]) for name in self.key): row for row in found}


TARGETS: Mapping[str, Target] = {
    "schemes": Target(query="SELECT * FROM public.schemes", key=("code",)),
    "profile_summary": Target(query="SELECT * FROM public.profile_summary", key=("family_id",)),
    "benefit_forecasts": Target(
        query="SELECT * FROM public.benefit_forecasts", key=("forecast_id",)
    ),
    "application_decisions": Target(
        query="SELECT * FROM public.application_decisions", key=("application_id",)
    ),
    "ml_alerts": Target(query="SELECT * FROM public.ml_alerts", key=("alert_id",)),
    "application_events": Target(
        query="SELECT * FROM decision.application_events",
        key=("application_id", "event_type", "event_timestamp"),
        in_portal=False,
    ),
    "document_metadata": Target(
        query="SELECT * FROM public.document_metadata", key=("document_id",), in_portal=False
    ),
    "user_behavior": Target(
        query="SELECT * FROM analytics.user_behavior",
        key=("citizen_id", "event_type", "event_date"),
        in_portal=False,
    ),
    "feedback_analytics": Target(
        query="SELECT * FROM analytics.feedback_analytics",
        key=("feedback_id",),
        in_portal=False,
    ),
}
"""The targets of the flows that are computed in SQL."""
EVENT_FLOWS = tuple(
    flow for flow in TARGETS if flow not in {"schemes", "user_behavior", "feedback_analytics"}
)


def all_differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[Difference]:
    """What is wrong with any of the twelve targets, after full batches of what has them.

    `runs` tell when batches looked: the target, and the moment.
    """
    yield from differences(warehouse, citizen, window=None)
    yield from _of(tuple(TARGETS), warehouse, citizen, runs)


def event_differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[Difference]:
    """What is wrong with any of the nine targets of events; `runs` as for all of them."""
    yield from differences(warehouse, citizen)
    yield from _of(EVENT_FLOWS, warehouse, citizen, runs)


def _of(
    flows: Iterable[str],
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]],
) -> Iterator[Difference]:
    with both(warehouse, citizen, runs) as session:
        wanted = {flow: expected(session, flow) for flow in flows}
    for flow, rows in wanted.items():
        yield from compare(flow, rows, TARGETS[flow].rows(warehouse, citizen))


def compare(
    table: str, wanted: Mapping[str, Row], found: Mapping[str, Row]
) -> Iterator[Difference]:
    """Differences by key, without values: a column that was not asked for may be anything."""
    for key in wanted.keys() - found.keys():
        yield Difference(table=table, key=key, what="row missing")
    for key in found.keys() - wanted.keys():
        yield Difference(table=table, key=key, what="row too many")
    for key in wanted.keys() & found.keys():
        for column, value in wanted[key].items():
            if not _same(table, column)(value, found[key][column]):
                yield Difference(table=table, key=key, what=f"{column} differs")


def _same(table: str, column: str) -> Callable[[Any, Any], bool]:
    text, forbidden = _TEXTS.get(table, ("", None))
    if column != text:
        return lambda wanted, found: bool(wanted == found)
    return lambda wanted, found: scrubbed.agrees(wanted, found, forbidden)
