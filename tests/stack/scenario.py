"""The scenario of all twelve flows: batch runs, comparison with the oracle, and the report."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table
from sink_stack.stack import sink_runner

from ..oracle.comparison import Difference
from ..oracle.targets import find_all_differences
from . import latency
from .deployment import Deployment
from .scenario_data import ScenarioData

_TARGETS = {"feedback": "feedback_analytics", "user-behavior": "user_behavior"}
_APPLY_SECONDS = 120
_WAITING_SECONDS = 30
_PAUSE = 1.0
_RULE_COUNTS = "SELECT mapping, rule, sum(rows)::int FROM sink.quality_count GROUP BY 1, 2"
_DEAD_LETTERS = """
SELECT flow, count(*)::int FROM sink.dead_letter WHERE status = ANY (%s)
AND (status = 'PARKED' OR error_class <> 'WaitingError') GROUP BY flow
"""
# As `sink-runner dlq discard` does: discard dead letters whose row has changed again since.
_DISCARD = """
UPDATE sink.dead_letter first SET status = 'DISCARDED'
WHERE status = 'OPEN' AND partition IS NOT NULL AND EXISTS (
  SELECT FROM sink.dead_letter later WHERE later.status = 'PARKED' AND later.dlq_id > first.dlq_id
  AND (later.flow, later.partition, later.event_key_hash)
    = (first.flow, first.partition, first.event_key_hash))
"""
_BLOCKED = """
SELECT count(*) FROM sink.dead_letter WHERE status = 'PARKED' AND error_message LIKE 'waits behind%'
"""
_ERRORS = "SELECT error_message FROM sink.dead_letter WHERE status = 'OPEN'"
_WIDTH = 100
_ROW_WRITERS = {
    table: (in_portal, f"SELECT {key}::text, xmin::text FROM {table}")
    for table, (in_portal, key) in {
        "public.profile_data": (True, "record_id"),
        "public.profile_summary": (True, "family_id"),
        "public.benefit_forecasts": (True, "forecast_id"),
        "public.application_decisions": (True, "application_id"),
        "public.golden_records": (False, "gr_id"),
        "decision.application_events": (False, "event_id"),
        "public.document_metadata": (False, "document_id"),
    }.items()
}


@dataclass(slots=True, kw_only=True)
class Scenario:
    """A deployment with the scenario's data, and the batches that have run."""

    deployment: Deployment
    data: ScenarioData
    runs: list[tuple[str, datetime]] = field(default_factory=list)
    batches: list[Mapping[str, Any]] = field(default_factory=list)

    def database(self, in_portal: bool) -> psycopg.Connection:  # noqa: FBT001 - says which of two
        return self.deployment.citizen if in_portal else self.deployment.warehouse

    def batch(self, name: str, *options: str, tolerate: int = 0) -> Mapping[str, Any]:
        """Run the batch command of a mapping; return its report."""
        if name in _TARGETS:
            self.runs.append((_TARGETS[name], datetime.now(UTC)))
        command = sink_runner("batch", name, "--json", "--tolerate", str(tolerate), *options)
        with self.deployment.log.open("ab") as log:
            done = subprocess.run(
                command,
                cwd=self.deployment.root,
                env=dict(self.deployment.environment),
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
            )
        assert done.returncode == 0, (name, done.stdout.decode(), self.deployment.log_tail())
        report: Mapping[str, Any] = json.loads(done.stdout)
        self.batches.append(report)
        return report

    def settle(self) -> list[Difference]:
        """Return the differences after every change is applied and deferred events were retried."""
        self.deployment.apply_all(_APPLY_SECONDS)
        deadline = time.monotonic() + _WAITING_SECONDS
        blocked = self.discard_obsolete()
        while ((remaining := self.differences()) or blocked) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            blocked = self.discard_obsolete()
        return remaining

    def discard_obsolete(self) -> int:
        """Discard dead letters whose row has changed; return the number of events still blocked."""
        databases = (self.deployment.warehouse, self.deployment.citizen)
        for connection in databases:
            connection.execute(_DISCARD)
        return sum(connection.execute(_BLOCKED).fetchone()[0] for connection in databases)

    def differences(self) -> list[Difference]:
        return list(
            find_all_differences(self.deployment.warehouse, self.deployment.citizen, self.runs)
        )

    def rule_counts(self) -> Counter[str]:
        """Return how often rows broke a rule, by mapping; a used default does not count."""
        found: Counter[str] = Counter()
        for connection in (self.deployment.warehouse, self.deployment.citizen):
            for mapping, rule, rows in connection.execute(_RULE_COUNTS):
                found[mapping] += rows if rule != "default" else 0
        return +found

    def dead_letters(self, *statuses: str) -> Counter[str]:
        """Return the number of dead letters by flow; by default of those that failed."""
        chosen = list(statuses or ("OPEN", "DISCARDED", "SUPERSEDED"))
        found: Counter[str] = Counter()
        for connection in (self.deployment.warehouse, self.deployment.citizen):
            found.update(dict(connection.execute(_DEAD_LETTERS, [chosen]).fetchall()))
        return found

    def errors(self) -> set[str]:
        """Return the error messages of the open dead letters."""
        found = [
            one.execute(_ERRORS) for one in (self.deployment.warehouse, self.deployment.citizen)
        ]
        return {text for rows in found for (text,) in rows}

    def row_writers(self) -> dict[str, dict[str, str]]:
        """Return the transaction that last wrote each row of the targets."""
        return {
            table: dict(self.database(in_portal).execute(query.encode()).fetchall())
            for table, (in_portal, query) in _ROW_WRITERS.items()
        }

    def report(self, latencies: Mapping[str, list[float]], path: Path) -> None:
        """Print the tables of latencies and batches, and write them to a file."""
        with path.open("w", encoding="utf-8") as file:
            for console in (Console(width=_WIDTH), Console(file=file, width=_WIDTH)):
                console.print(_events(latencies), _batches(self.batches))


def _events(latencies: Mapping[str, list[float]]) -> Table:
    table = Table(title="Event flows: commit in the source to commit in the target, seconds")
    for column in ("flow", "changes", "p50", "p95", "worst", "limit (p95)"):
        table.add_column(column, justify="left" if column == "flow" else "right")
    for flow, seconds in latencies.items():
        numbers = [latency.percentile(seconds, 50), latency.percentile(seconds, 95), max(seconds)]
        cells = [f"{number:.3f}" for number in numbers]
        table.add_row(flow, str(len(seconds)), *cells, f"{latency.FLOWS[flow].limit:.1f}")
    return table


def _batches(reports: list[Mapping[str, Any]]) -> Table:
    table = Table(title="Batch flows")
    counts = ("read", "written", "removed", "parked", "failed")
    for column in ("mapping", "mode", *counts, "seconds"):
        table.add_column(column, justify="left" if column in {"mapping", "mode"} else "right")
    for report in reports:
        cells = [str(report["counts"].get(name, 0)) for name in counts]
        table.add_row(report["mapping"], report["mode"], *cells, f"{report['seconds']:.2f}")
    return table
