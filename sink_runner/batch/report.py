"""Report the result of a batch run as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..error_text import text_of
from ..errors import WaitingError, class_name
from ..loading.hooks import Hooks
from ..model.dead_letter import DeadLetter
from ..model.message import Message
from ..plugin import Event

_OUTCOMES = ("carried", "dropped", "retired", "parked", "failed")


@dataclass(slots=True, kw_only=True)
class Report:
    """Counts of rows, by outcome.

    Each row that was read is carried, dropped, removed, deferred or failed.  `written` counts the
    rows of the target that changed, `removed` those that were deleted or marked there.
    """

    mapping: str
    mode: str
    dry_run: bool
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many rows failed, by class and text of the error; neither contains a row's value."""
    notes: list[str] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def adds_up(self) -> bool:
        """Whether every row of the source was read and has exactly one outcome."""
        read = self.counts["read"]
        expected: int = self.checks.get("source_rows", read)
        return read == expected == sum(self.counts[outcome] for outcome in _OUTCOMES)

    @property
    def is_unchecked(self) -> bool:
        """Whether rows were carried, and the check after the run could compare none of them."""
        fields = self.checks.get("fields")
        return fields is not None and not fields["compared"] and bool(self.counts["carried"])

    def note_failures(
        self,
        dead_letters: Iterable[DeadLetter],
        hooks: Hooks,
        event_of: Callable[[Message], Event | None] = lambda _message: None,
    ) -> None:
        """Count the rows that failed by error, and call the hooks."""
        for dead_letter in dead_letters:
            if not isinstance(dead_letter.error, WaitingError):
                self.failures[class_name(dead_letter.error), text_of(dead_letter.error)] += 1
                hooks.failed(dead_letter.error, partial(event_of, dead_letter.message))

    def is_good(self, tolerated: int) -> bool:
        """Return whether the counts add up, rows were compared, and at most `tolerated` failed."""
        return (
            self.adds_up
            and not self.is_unchecked
            and self.counts["failed"] + self.counts["unretired"] <= tolerated
        )

    def json(self) -> str:
        """Return the report as one line of JSON."""
        return json.dumps(
            {
                "mapping": self.mapping,
                "mode": self.mode,
                "dry_run": self.dry_run,
                "interrupted": self.interrupted,
                "seconds": round(self.seconds, 3),
                "counts": dict(self.counts),
                "failures": [
                    {"class": kind, "error": text, "rows": rows}
                    for (kind, text), rows in self.failures.most_common()
                ],
                "notes": self.notes,
                "checks": self.checks,
            }
        )

    def lines(self) -> Iterator[str]:
        """Return the report as text."""
        counts, would = self.counts, "would be " if self.dry_run else ""
        rate = counts["read"] / self.seconds if self.seconds else 0.0
        state = "interrupted; the next run resumes here" if self.interrupted else "done"
        yield (
            f"{self.mapping}: {self.mode}: {state}: {counts['read']:,} rows read "
            f"in {self.seconds:.1f} s ({rate:,.0f} rows/s)"
        )
        yield (
            f"  {would}written {counts['written']:,}  unchanged {self.unchanged}  "
            f"dropped {counts['dropped']:,}  retired {counts['retired']:,}  "
            f"parked {counts['parked']:,}  failed {counts['failed']:,}"
        )
        if counts["stale"]:
            yield f"  stale {counts['stale']:,}: the target has something newer, which stays"
        if counts["removed"] or counts["gone"]:
            yield (
                f"  {would}removed from the target or marked there {counts['removed']:,}, of "
                f"which {counts['gone']:,} are gone from the source"
            )
        yield from (f"  {note}" for note in self.notes)
        yield from (
            f"  failed {count:,}: {kind}: {text}"
            for (kind, text), count in self.failures.most_common()
        )
        yield from self._check_lines()

    @property
    def unchanged(self) -> str:
        """The number of carried rows that changed nothing; "-" if rows share a target row."""
        left = self.counts["carried"] - self.counts["written"] - self.counts["stale"]
        return f"{left:,}" if left >= 0 else "-"

    def _check_lines(self) -> Iterator[str]:
        if not self.interrupted:
            yield f"  record count: {'every row accounted for' if self.adds_up else 'DIFFERS'}"
        if fields := self.checks.get("fields"):
            found = f"{fields['compared']} rows compared, {fields['different']} differ"
            named = f" in {', '.join(fields['columns'])}" if fields["columns"] else ""
            yield f"  fields: {found}{named}"
        if self.is_unchecked:
            yield (
                f"  NOT CHECKED: {self.counts['carried']:,} rows were carried and none could be "
                "compared with the source; run the batch again with --full"
            )
