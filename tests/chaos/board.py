"""What each fault came to: a table for the end of the session, and for the stack's home."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = ("fault", "times", "changes", "lost", "doubled", "dead letters", "lag 0 after", "result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One line; `seconds` is None where the lag did not come back to 0 in time."""

    fault: str
    times: int
    changes: int
    lost: int
    doubled: int
    dead_letters: int
    expected: int
    """As many dead letters as there were messages that nobody could read."""
    seconds: float | None

    @property
    def held(self) -> bool:
        right = not self.lost and not self.doubled and self.dead_letters == self.expected
        return right and self.seconds is not None

    def cells(self) -> tuple[str, ...]:
        dead_letters = (
            f"{self.dead_letters} of {self.expected}" if self.expected else str(self.dead_letters)
        )
        lag = "never" if self.seconds is None else f"{self.seconds:.1f} s"
        counted = (str(n) for n in (self.times, self.changes, self.lost, self.doubled))
        return (self.fault, *counted, dead_letters, lag, "held" if self.held else "BROKEN")


@dataclass(slots=True)
class Board:
    """All outcomes of a session."""

    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    file: Path | None = None

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.file is not None:
            self.file.write_text("\n".join([*self.lines(), ""]), encoding="utf-8")

    def lines(self) -> list[str]:
        rows: Sequence[tuple[str, ...]] = [_HEAD, *(one.cells() for one in self.outcomes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        held = sum(one.held for one in self.outcomes)
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return [*table, f"{held} of {len(self.outcomes)} faults held; SEED={self.seed}"]
