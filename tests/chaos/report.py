"""The outcome of each fault, as a table for the end of the session and for a file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEADINGS = (
    *("fault", "times", "changes", "lost", "duplicates", "dead letters", "lag 0 after", "result"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    fault: str
    times: int
    changes: int
    lost: int
    duplicates: int
    dead_letters: int
    expected_dead_letters: int
    """The number of messages that could not be decoded."""
    lag_seconds: float | None
    """The time until the lag was 0 again; None if it exceeded the timeout."""

    @property
    def passed(self) -> bool:
        has_expected_dead_letters = self.dead_letters == self.expected_dead_letters
        is_complete = not self.lost and not self.duplicates
        return has_expected_dead_letters and is_complete and self.lag_seconds is not None

    def format_cells(self) -> tuple[str, ...]:
        dead_letters = (
            f"{self.dead_letters} of {self.expected_dead_letters}"
            if self.expected_dead_letters
            else str(self.dead_letters)
        )
        lag = "never" if self.lag_seconds is None else f"{self.lag_seconds:.1f} s"
        counts = (str(n) for n in (self.times, self.changes, self.lost, self.duplicates))
        return (self.fault, *counts, dead_letters, lag, "passed" if self.passed else "FAILED")


@dataclass(slots=True)
class FaultReport:
    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    file: Path | None = None

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.file is not None:
            self.file.write_text("\n".join([*self.format_lines(), ""]), encoding="utf-8")

    def format_lines(self) -> list[str]:
        rows: Sequence[tuple[str, ...]] = [
            _HEADINGS,
            *(outcome.format_cells() for outcome in self.outcomes),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        passed = sum(outcome.passed for outcome in self.outcomes)
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return [*table, f"{passed} of {len(self.outcomes)} faults passed; SEED={self.seed}"]
