"""Compare all twelve targets with their expected rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from . import history, redaction
from .comparison import Difference, find_differences
from .history import Row
from .session import compute_rows, open_session

_REDACTED_COLUMNS: Mapping[tuple[str, str], Any] = {
    ("ml_alerts", "message"): redaction.ALERT_VALUES,
    ("feedback_analytics", "comment"): redaction.COMMENT_VALUES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The table that a flow writes, and the columns that identify its rows."""

    query: LiteralString
    key: tuple[str, ...]
    in_portal: bool = True

    def fetch_rows(
        self, warehouse: psycopg.Connection, citizen: psycopg.Connection
    ) -> dict[str, Row]:
        rows = history.fetch_rows(citizen if self.in_portal else warehouse, self.query)
        return {" ".join(str(row[name]) for name in self.key): row for row in rows}


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
"""The targets whose expected rows are computed in SQL, by the name of the flow's file."""
EVENT_FLOWS = tuple(
    flow for flow in TARGETS if flow not in {"schemes", "user_behavior", "feedback_analytics"}
)


def find_all_differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[Difference]:
    """Yield what is wrong in the twelve targets after a full batch run of each batch flow.

    `runs` are those batch runs: flow and time, as for `open_session`.
    """
    yield from find_differences(warehouse, citizen, window=None)
    yield from _compare_flows(tuple(TARGETS), warehouse, citizen, runs)


def find_event_differences(
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]] = (),
) -> Iterator[Difference]:
    """Yield what is wrong in the nine targets that events write; `runs` as above."""
    yield from find_differences(warehouse, citizen)
    yield from _compare_flows(EVENT_FLOWS, warehouse, citizen, runs)


def _compare_flows(
    flows: Iterable[str],
    warehouse: psycopg.Connection,
    citizen: psycopg.Connection,
    runs: Iterable[tuple[str, datetime]],
) -> Iterator[Difference]:
    with open_session(warehouse, citizen, runs) as session:
        expected = {flow: compute_rows(session, flow) for flow in flows}
    for flow, rows in expected.items():
        yield from compare_rows(flow, rows, TARGETS[flow].fetch_rows(warehouse, citizen))


def compare_rows(
    table: str, expected: Mapping[str, Row], actual: Mapping[str, Row]
) -> Iterator[Difference]:
    """Yield the differences without values; columns that are not expected are ignored."""
    for key in expected.keys() - actual.keys():
        yield Difference(table=table, key=key, problem="missing row")
    for key in actual.keys() - expected.keys():
        yield Difference(table=table, key=key, problem="extra row")
    for key in expected.keys() & actual.keys():
        for column, value in expected[key].items():
            if not _matcher(table, column)(value, actual[key][column]):
                yield Difference(table=table, key=key, problem=f"{column} differs")


def _matcher(table: str, column: str) -> Callable[[Any, Any], bool]:
    forbidden = _REDACTED_COLUMNS.get((table, column))
    if forbidden is None:
        return lambda expected, actual: bool(expected == actual)
    return lambda expected, actual: redaction.is_redaction(expected, actual, forbidden)
