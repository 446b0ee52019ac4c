"""Findings of the schema check: a change of one column, its severity, and what to do."""

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
    """The change of a column."""

    NONE = "none"
    ADDED = "added"
    PERSONAL = "personal"
    """It looks personal and is not classified."""
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
    """A preflight check failed: the mapping would not start."""
    SILENT = "silent"
    """There is no schema to check."""


# Changes after which events are harmless once the change was undone: they lack a column at most.
PASSING = frozenset(
    {Change.PERSONAL, Change.REMOVED, Change.RENAMED, Change.NARROWED, Change.KEY, Change.ADDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report, with names and types and never a row's value."""

    mapping: str
    column: str = ""
    change: Change
    severity: Severity
    problem: str
    advice: str = ""
    origin: str = ""
    """Origin of the schema: the registry with its id, the database, or a file."""

    @property
    def text(self) -> str:
        """The finding as one sentence."""
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.problem}{where}; {self.advice}" if self.advice else f"{self.problem}{where}"


def passes(finding: Finding, columns: Container[str]) -> bool:
    """Whether rows with such columns may be read after the change was undone.

    Not where a name was given to another column: its values would be read as those of the first.
    """
    if finding.change is Change.RENAMED and finding.column in columns:
        return False
    return finding.change in PASSING


def refused(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is Severity.REFUSED]


def worst(findings: Sequence[Finding]) -> Severity:
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
