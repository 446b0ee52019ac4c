"""The findings of a mapping's checks: what is wrong, what was expected, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ConfigError

_SQL = re.compile(
    r"(?:ALTER|CREATE|DROP|GRANT|REVOKE|SELECT) .+?(?=, (?:or|and) | and (?:restart|reload) |$)"
)
_PLACEHOLDER = re.compile(r"\.\.\.|…|<[\w ]+>")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a mapping's configuration.  It names tables, columns and roles, never a row's
    value."""

    problem: str
    expected: str
    remedy: str
    """A statement to paste, or what to change in the plugin or in a file."""
    column: str = ""
    refused: bool = True
    """The mapping does not start; False is a warning."""
    refuses_batch: bool = False
    """A batch run does not start; events may still be applied."""

    @property
    def sql(self) -> str:
        """The statement with which the remedy begins; "" if it begins with none to paste."""
        found = _SQL.match(self.remedy)
        return found[0] if found and not _PLACEHOLDER.search(found[0]) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fault of one mapping, and the name of the check that found it."""

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
    """Raise one ConfigError with every finding that refuses a start (with `batch`, a batch run)."""
    problems = [one.text for one in findings if one.refused or (batch and one.fault.refuses_batch)]
    if problems:
        raise ConfigError("\n".join(problems))
