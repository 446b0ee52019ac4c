"""What a check found: a fact about one column, how bad it is, and the way out."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass


class Severity(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    """The mapping pauses."""


class Change(enum.StrEnum):
    """What became of a column."""

    NONE = "none"
    ADDED = "added"
    PERSONAL = "personal"
    """It looks personal, and nobody has said whether it is."""
    REMOVED = "removed"
    RENAMED = "renamed"
    NARROWED = "narrowed"
    WIDENED = "widened"
    NULLABLE = "nullable"
    TYPE = "type"
    MEANING = "meaning"
    FORM = "form"
    """Debezium writes it in a form that the decoder does not know."""
    TARGET = "target"
    """The target's column is narrower."""
    KEY = "key"
    CONFIGURATION = "setup"
    """The set-up is not what the mapping needs: it would not start."""
    SILENT = "silent"
    """There is no schema to look at."""


# What no event in between can harm once the table is as it was: what is missing is left alone.
PASSING = frozenset(
    {Change.PERSONAL, Change.REMOVED, Change.RENAMED, Change.NARROWED, Change.KEY, Change.ADDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.  Names and types only, never a row's value."""

    mapping: str
    column: str = ""
    change: Change
    severity: Severity
    problem: str
    advice: str = ""
    origin: str = ""
    """Where the schema came from: the registry with its id, the database, or a file."""

    @property
    def text(self) -> str:
        """All of it as one sentence."""
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.problem}{where}; {self.advice}" if self.advice else f"{self.problem}{where}"


def passes(finding: Finding, columns: Container[str]) -> bool:
    """Whether rows of such columns may be read once the table is as it was.

    Not where a name stood for another column: what it held then would be read as its own.
    """
    if finding.change is Change.RENAMED and finding.column in columns:
        return False
    return finding.change in PASSING


def refused(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.REFUSED]


def worst(findings: Sequence[Finding]) -> Severity:
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
