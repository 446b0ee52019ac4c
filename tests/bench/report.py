"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from .batch import Batches
from .measured import Pass
from .reference import Reference
from .runner import NAME as OURS

_WIDTH = 110  # where there is no terminal to ask


@dataclass(slots=True)
class Report:
    """All passes of every writer, by name; the first is ours."""

    events: int
    passes: dict[str, list[Pass]] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    latencies: Sequence[float] = ()
    """Milliseconds."""
    batches: Batches | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, done: Pass) -> None:
        self.passes.setdefault(name, []).append(done)

    def rate(self, name: str) -> float:
        return median(done.rate for done in self.passes[name])

    def as_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "writers": {name: self._writer(name) for name in self.passes},
            "reference": self._reference(),
            "latency_ms": self._latency(),
            "batch": self._batch(),
            "notes": self.notes,
        }

    def print(self, console: Console) -> None:
        if not console.is_terminal:
            console.width = _WIDTH
        if self.passes:
            console.print(self._table())
        if self.latencies:
            found = self._latency()
            console.print(
                f"commit to commit, {len(self.latencies)} single changes: "
                + ", ".join(f"{name} {value:.1f} ms" for name, value in found.items())
            )
        if self.batches is not None:
            console.print(self.batches.text(), soft_wrap=True)
        for note in self.notes:
            console.print(f"- {note}", soft_wrap=True, markup=False)

    def _writer(self, name: str) -> dict[str, Any]:
        passes = self.passes[name]
        return {
            "events_per_second": round(self.rate(name)),
            "all": [round(done.rate) for done in passes],
            "cpu_us_per_event": round(median(done.cpu_us for done in passes), 1),
            "peak_megabytes": round(max(done.peak_bytes for done in passes) / 2**20),
            "same_rows": all(done.same_rows for done in passes),
        }

    def _reference(self) -> Mapping[str, int]:
        if not self.references:
            return {}
        return {
            "merge_rows_per_second": round(median(one.merge for one in self.references)),
            "copy_rows_per_second": round(median(one.copy for one in self.references)),
        }

    def _batch(self) -> Mapping[str, int]:
        if self.batches is None:
            return {}
        return {name: round(value) for name, value in asdict(self.batches).items()}

    def _latency(self) -> Mapping[str, float]:
        if not self.latencies:
            return {}
        cuts = quantiles(self.latencies, n=100, method="inclusive")
        return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}

    def _table(self) -> Table:
        table = Table(title=f"{self.events:,} updates of 20 columns, median of the passes")
        for heading in (
            "",
            "events/s",
            "of ours",
            "of the merge",
            "cpu µs/event",
            "peak MB",
            "rows",
        ):
            table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
        merge = self._reference().get("merge_rows_per_second", 0)
        for name in self.passes:
            found = self._writer(name)
            table.add_row(
                name,
                f"{found['events_per_second']:,}",
                self._ratio(self.rate(name)),
                f"{self.rate(name) / merge:.2f}" if merge else "",
                f"{found['cpu_us_per_event']:.1f}",
                f"{found['peak_megabytes']:,}",
                "same" if found["same_rows"] else "DIFFER",
            )
        for name, value in self._reference().items():
            label = {"merge": "PostgreSQL: INSERT … ON CONFLICT", "copy": "PostgreSQL: COPY"}
            text = label[name.partition("_")[0]]
            table.add_row(text, f"{value:,}", self._ratio(value), f"{value / merge:.2f}")
        return table

    def _ratio(self, rate: float) -> str:
        return f"{rate / self.rate(OURS):.2f}" if OURS in self.passes else ""
