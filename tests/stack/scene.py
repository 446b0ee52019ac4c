"""The stage of the scenario: both databases, a runner, batches, and the oracle that watches."""

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
from .arena import Arena
from .cast import Cast

_TARGETS = {"feedback": "feedback_analytics", "user-behavior": "user_behavior"}
_APPLY_SECONDS = 120
_WAITING_SECONDS = 30
_PAUSE = 1.0
_COUNTED = "SELECT mapping, rule, sum(rows)::int FROM sink.quality_count GROUP BY 1, 2"
_LETTERS = """
SELECT flow, count(*)::int FROM sink.dead_letter WHERE status = ANY (%s)
AND (status = 'PARKED' OR error_class <> 'WaitingError') GROUP BY flow
"""
# As `sink-runner dlq discard` does: a person gives up what the source has changed since.
_GIVE_UP = """
UPDATE sink.dead_letter first SET status = 'DISCARDED'
WHERE status = 'OPEN' AND partition IS NOT NULL AND EXISTS (
  SELECT FROM sink.dead_letter later WHERE later.status = 'PARKED' AND later.dlq_id > first.dlq_id
  AND (later.flow, later.partition, later.event_key_hash)
    = (first.flow, first.partition, first.event_key_hash))
"""
_BEHIND = """
SELECT count(*) FROM sink.dead_letter WHERE status = 'PARKED' AND error_message LIKE 'waits behind%'
"""
_ERRORS = "SELECT error_message FROM sink.dead_letter WHERE status = 'OPEN'"
_WIDTH = 100
_WRITERS = {
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
class Scene:
    """What the scenario does besides its story."""

    arena: Arena
    cast: Cast
    runs: list[tuple[str, datetime]] = field(default_factory=list)
    batches: list[Mapping[str, Any]] = field(default_factory=list)

    def place(self, in_portal: bool) -> psycopg.Connection:  # noqa: FBT001 - says which of two
        return self.arena.citizen if in_portal else self.arena.warehouse

    def batch(self, name: str, *options: str, tolerate: int = 0) -> Mapping[str, Any]:
        """A run of a mapping's batch form, by its command."""
        if name in _TARGETS:
            self.runs.append((_TARGETS[name], datetime.now(UTC)))
        command = sink_runner("batch", name, "--json", "--tolerate", str(tolerate), *options)
        with self.arena.log.open("ab") as log:
            done = subprocess.run(
                command,
                cwd=self.arena.root,
                env=dict(self.arena.environment),
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
            )
        assert done.returncode == 0, (name, done.stdout.decode(), self.arena.tail())
        report: Mapping[str, Any] = json.loads(done.stdout)
        self.batches.append(report)
        return report

    def settle(self) -> list[Difference]:
        """The differences once every change is applied and what had to wait has been retried."""
        self.arena.apply_all(_APPLY_SECONDS)
        bound = time.monotonic() + _WAITING_SECONDS
        behind = self.give_up()
        while ((left := self.differences()) or behind) and time.monotonic() < bound:
            time.sleep(_PAUSE)
            behind = self.give_up()
        return left

    def give_up(self) -> int:
        """Discard the broken rows that changed again; return how many events still wait behind."""
        places = (self.arena.warehouse, self.arena.citizen)
        for connection in places:
            connection.execute(_GIVE_UP)
        return sum(connection.execute(_BEHIND).fetchone()[0] for connection in places)

    def differences(self) -> list[Difference]:
        return list(find_all_differences(self.arena.warehouse, self.arena.citizen, self.runs))

    def counted(self) -> Counter[str]:
        """How often a rule was broken, by mapping; what a default was put for is no fault."""
        found: Counter[str] = Counter()
        for connection in (self.arena.warehouse, self.arena.citizen):
            for mapping, rule, rows in connection.execute(_COUNTED):
                found[mapping] += rows if rule != "default" else 0
        return +found

    def dead_letters(self, *statuses: str) -> Counter[str]:
        """How many dead letters there are, by flow; unless told otherwise, of those that failed."""
        wanted = list(statuses or ("OPEN", "DISCARDED", "SUPERSEDED"))
        found: Counter[str] = Counter()
        for connection in (self.arena.warehouse, self.arena.citizen):
            found.update(dict(connection.execute(_LETTERS, [wanted]).fetchall()))
        return found

    def errors(self) -> set[str]:
        """What is said of the open dead letters."""
        found = [one.execute(_ERRORS) for one in (self.arena.warehouse, self.arena.citizen)]
        return {text for rows in found for (text,) in rows}

    def writers(self) -> dict[str, dict[str, str]]:
        """Which transaction wrote each row of the targets last."""
        return {
            table: dict(self.place(in_portal).execute(query.encode()).fetchall())
            for table, (in_portal, query) in _WRITERS.items()
        }

    def report(self, taken: Mapping[str, list[float]], path: Path) -> None:
        """Print both tables, and write them to a file."""
        with path.open("w", encoding="utf-8") as file:
            for console in (Console(width=_WIDTH), Console(file=file, width=_WIDTH)):
                console.print(_events(taken), _batches(self.batches))


def _events(taken: Mapping[str, list[float]]) -> Table:
    table = Table(title="Event flows: commit in the source to commit in the target, seconds")
    for column in ("flow", "changes", "p50", "p95", "worst", "limit (p95)"):
        table.add_column(column, justify="left" if column == "flow" else "right")
    for flow, seconds in taken.items():
        numbers = [latency.percentile(seconds, 50), latency.percentile(seconds, 95), max(seconds)]
        told = [f"{number:.3f}" for number in numbers]
        table.add_row(flow, str(len(seconds)), *told, f"{latency.FLOWS[flow].limit:.1f}")
    return table


def _batches(reports: list[Mapping[str, Any]]) -> Table:
    table = Table(title="Batch flows")
    counts = ("read", "written", "removed", "parked", "failed")
    for column in ("mapping", "mode", *counts, "seconds"):
        table.add_column(column, justify="left" if column in {"mapping", "mode"} else "right")
    for report in reports:
        told = [str(report["counts"].get(name, 0)) for name in counts]
        table.add_row(report["mapping"], report["mode"], *told, f"{report['seconds']:.2f}")
    return table
