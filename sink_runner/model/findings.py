"""What a check of a mapping's set-up found: what is wrong, what was expected, the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a set-up.  It names tables, columns and roles, never a row's value."""

    problem: str
    expected: str
    remedy: str
    """A statement to paste, or what to change in the plugin or in a file."""
    column: str = ""
    refused: bool = True
    """The mapping does not start; False is a warning."""
    refuses_batch: bool = False
    """A batch does not start, though events may be applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fault of one mapping, found by one check of the list."""

    mapping: str
    check: str
    fault: Fault

    @property
    def refused(self) -> bool:
        return self.fault.refused

    @property
    def advice(self) -> str:
        return f"expected {self.fault.expected}: {self.fault.remedy}"

    @property
    def text(self) -> str:
        """All of it as one sentence."""
        return f"{self.fault.problem}; {self.advice}"


def refuse(findings: Iterable[Finding], *, batch: bool = False) -> None:
    """Raise one ConfigError that names every finding that forbids a start, or that of a batch."""
    harm = [one.text for one in findings if one.refused or (batch and one.fault.refuses_batch)]
    if harm:
        raise ConfigError("\n".join(harm))
