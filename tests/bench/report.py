"""Print the results as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from .batch import BatchRates
from .passes import PassResult
from .reference import Reference
from .runner import NAME as RUNNER

_WIDTH = 110  # of output that is not a terminal


@dataclass(slots=True)
class Report:
    """The results of all passes, by the name of the sink."""

    events: int
    passes: dict[str, list[PassResult]] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    latencies: Sequence[float] = ()
    """Milliseconds."""
    batches: BatchRates | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, result: PassResult) -> None:
        self.passes.setdefault(name, []).append(result)

    def rate(self, name: str) -> float:
        return median(result.rate for result in self.passes[name])

    def as_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "writers": {name: self._summarize_sink(name) for name in self.passes},
            "reference": self._summarize_references(),
            "latency_ms": self._summarize_latencies(),
            "batch": self._summarize_batches(),
            "notes": self.notes,
        }

    def print(self, console: Console) -> None:
        if not console.is_terminal:
            console.width = _WIDTH
        if self.passes:
            console.print(self._make_table())
        if self.latencies:
            quantiles_ms = self._summarize_latencies()
            console.print(
                f"commit to commit, {len(self.latencies)} single changes: "
                + ", ".join(f"{name} {value:.1f} ms" for name, value in quantiles_ms.items())
            )
        if self.batches is not None:
            console.print(str(self.batches), soft_wrap=True)
        for note in self.notes:
            console.print(f"- {note}", soft_wrap=True, markup=False)

    def _summarize_sink(self, name: str) -> dict[str, Any]:
        passes = self.passes[name]
        return {
            "events_per_second": round(self.rate(name)),
            "all": [round(result.rate) for result in passes],
            "cpu_us_per_event": round(median(result.cpu_us for result in passes), 1),
            "peak_megabytes": round(max(result.peak_bytes for result in passes) / 2**20),
            "same_rows": all(result.same_rows for result in passes),
        }

    def _summarize_references(self) -> Mapping[str, int]:
        if not self.references:
            return {}
        return {
            "merge_rows_per_second": round(
                median(reference.merge for reference in self.references)
            ),
            "copy_rows_per_second": round(median(reference.copy for reference in self.references)),
        }

    def _summarize_batches(self) -> Mapping[str, int]:
        if self.batches is None:
            return {}
        return {name: round(value) for name, value in asdict(self.batches).items()}

    def _summarize_latencies(self) -> Mapping[str, float]:
        if not self.latencies:
            return {}
        cuts = quantiles(self.latencies, n=100, method="inclusive")
        return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}

    def _make_table(self) -> Table:
        table = Table(title=f"{self.events:,} updates of 20 columns, median of the passes")
        for heading in (
            "",
            "events/s",
            "vs. runner",
            "vs. merge",
            "cpu µs/event",
            "peak MB",
            "rows",
        ):
            table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
        merge = self._summarize_references().get("merge_rows_per_second", 0)
        for name in self.passes:
            summary = self._summarize_sink(name)
            table.add_row(
                name,
                f"{summary['events_per_second']:,}",
                self._format_ratio(self.rate(name)),
                f"{self.rate(name) / merge:.2f}" if merge else "",
                f"{summary['cpu_us_per_event']:.1f}",
                f"{summary['peak_megabytes']:,}",
                "same" if summary["same_rows"] else "DIFFER",
            )
        for name, value in self._summarize_references().items():
            label = {"merge": "PostgreSQL: INSERT … ON CONFLICT", "copy": "PostgreSQL: COPY"}
            text = label[name.partition("_")[0]]
            table.add_row(text, f"{value:,}", self._format_ratio(value), f"{value / merge:.2f}")
        return table

    def _format_ratio(self, rate: float) -> str:
        return f"{rate / self.rate(RUNNER):.2f}" if RUNNER in self.passes else ""
