"""Report the result of a reconciliation as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from .suspect import Kind, Suspect

_DIFFERENCES = (Kind.MISSING, Kind.EXTRA, Kind.DIFFERENT, Kind.REFUSED)


@dataclass(slots=True, kw_only=True)
class Report:
    """Counts of rows and names of columns; never a value or a key."""

    mapping: str
    mode: str
    repair: bool = False
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    """In how many rows each column differs."""
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    verified_through: datetime | None = None
    next_batch_run: datetime | None = None
    seconds: float = 0.0

    def add_found(self, suspects: Sequence[Suspect]) -> None:
        for suspect in suspects:
            self.counts[suspect.kind] += 1
            if suspect.kind is Kind.DIFFERENT:
                self.columns.update(suspect.columns)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @property
    def differences(self) -> int:
        return sum(self.counts[kind] for kind in _DIFFERENCES)

    @property
    def left(self) -> int:
        """Differences that a repair has not removed."""
        return self.differences - self.counts["repaired"]

    @property
    def outcome(self) -> str:
        if self.interrupted:
            return "interrupted"
        if self.left or (self.dry_run and self.differences):
            return "different"
        return "undecided" if self.counts["pending"] else "equal"

    @property
    def is_equal(self) -> bool:
        return self.outcome == "equal"

    def json(self) -> str:
        """Return the report as one line of JSON."""
        return json.dumps(
            {
                "mapping": self.mapping,
                "mode": self.mode,
                "outcome": self.outcome,
                "repair": self.repair,
                "dry_run": self.dry_run,
                "seconds": round(self.seconds, 3),
                "counts": {str(name): count for name, count in self.counts.items()},
                "columns": dict(self.columns.most_common()),
                "verified_through": self.verified_through and self.verified_through.isoformat(),
                "next_batch_run": self.next_batch_run and self.next_batch_run.isoformat(),
                "notes": self.notes,
            }
        )

    def lines(self) -> Iterator[str]:
        """Return the report as text."""
        counts = self.counts
        yield (
            f"{self.mapping}: {self.mode}: {self._state()}: {counts['read']:,} rows read and "
            f"{counts['keys']:,} keys of the target in {self.seconds:.1f} s"
        )
        yield (
            f"  missing {counts[Kind.MISSING]:,}  extra {counts[Kind.EXTRA]:,}  "
            f"different {counts[Kind.DIFFERENT]:,}  refused {counts[Kind.REFUSED]:,}  "
            f"not yet applied {counts['pending']:,}"
        )
        if counts["unchanged"]:
            yield f"  unchanged by their digests since they were equal {counts['unchanged']:,}"
        if counts["waiting"]:
            at = self.next_batch_run
            when = f", scheduled for {at:%Y-%m-%d %H:%M} UTC" if at else ""
            yield f"  wait for the next batch run{when}: {counts['waiting']:,}"
        if self.columns:
            named = ", ".join(f"{name} {rows:,}" for name, rows in self.columns.most_common())
            yield f"  columns that differ: {named}"
        expected = {
            "dropped by a filter": counts["dropped"],
            "dead letters or deferred": counts["failed"] + counts["deferred"],
            "newer in the target by the conflict rule": counts[Kind.NEWER],
        }
        if any(expected.values()):
            found = "  ".join(f"{text} {count:,}" for text, count in expected.items() if count)
            yield f"  not compared: {found}"
        if self.repair:
            would = "would be repaired" if self.dry_run else "repaired"
            yield f"  {would} {counts['repaired']:,}  left {self.left:,}"
        yield from (f"  {note}" for note in self.notes)
        if self.verified_through is not None:
            yield f"  verified through {self.verified_through:%Y-%m-%d %H:%M:%S} UTC"

    def _state(self) -> str:
        if self.outcome == "interrupted":
            return "interrupted; the next run of the same mode resumes here"
        if self.outcome == "undecided":
            return "equal but for changes that may be on their way"
        return "repaired" if self.is_equal and self.counts["repaired"] else self.outcome
