"""Groups of checks that share sessions: what they find, and how an error becomes a finding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import psycopg

from .. import error_text
from ..config.dsn import Dsn
from ..errors import RetriableError, SinkError
from ..model.findings import Fault, Finding
from ..postgres.error_classes import classify_error
from ..postgres.session import Connection, connect

_PARTS = re.compile(r"\n(?! )")
"""Between the faults of one error; a line that begins with a space belongs to the one before."""
_REMEDY = re.compile(
    "[:;.] ((?:a connection pooler|check|connect|correct|declare|drop|give|GRANT|CREATE|install|"
    "let|move|put|raise|repair|run|Run|set|upgrade) .*)",
    re.DOTALL,
)
Find = Callable[[], Iterable[Fault | Finding]]


class NotCheckedError(Exception):
    """A check needs what an earlier check of its group has found missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckGroup:
    """Checks of one thing, made one after the other."""

    name: str
    checks: Mapping[str, Find]
    """By their names, in the order of the report."""
    start: str
    """What to do where the system does not answer."""
    correct: str
    """What to correct where an error does not say it."""
    mapping: str = ""
    version: Callable[[], str] | None = None
    """Returns the name and version of the system that was checked."""
    close: Callable[[], None] = lambda: None

    def findings(self, check: str) -> Iterator[Finding]:
        """Run one check.  Raises NotCheckedError if it cannot be made."""
        try:
            for found in self.checks[check]():
                yield self._finding(check, found)
        except NotCheckedError:
            raise
        except Exception as error:  # noqa: BLE001 - no check prevents the others
            for fault in self.faults(error):
                yield self._finding(check, fault)

    def _finding(self, check: str, found: Fault | Finding) -> Finding:
        if isinstance(found, Finding):
            return found
        return Finding(mapping=self.mapping, check=check, fault=found)

    def faults(self, error: Exception) -> Iterator[Fault]:
        """Yield the faults of an error; the text of the runner's own has the remedy."""
        if isinstance(error, psycopg.Error):
            error = classify_error(error)
        if not isinstance(error, SinkError):
            problem = f"the check failed: {error_text.describe(error)}"
            yield Fault(problem, "a check that runs", "report it with the output of --json")
            return
        text = error_text.text_of(error)
        if isinstance(error, RetriableError):
            yield Fault(text, "", self.start)
            return
        for part in _PARTS.split(text):
            found = _REMEDY.search(part)
            problem, remedy = (part[: found.start()], found[1]) if found else (part, self.correct)
            yield Fault(problem, "", remedy)


@dataclass(slots=True)
class Sessions:
    """Opens a session for each connection string once.

    `failed` remembers why one could not be opened, for all groups: a server that does not answer
    is not tried again for each mapping.
    """

    seconds: float
    failed: dict[Dsn, Exception] = field(default_factory=dict)
    _opened: dict[Dsn, Connection] = field(default_factory=dict)

    def open(self, dsn: Dsn) -> Connection:
        if dsn in self.failed:
            raise self.failed[dsn]
        if dsn not in self._opened:
            try:
                self._opened[dsn] = connect(dsn, "sink-runner doctor", self.seconds)
            except (psycopg.Error, SinkError) as error:
                self.failed[dsn] = error
                raise
        return self._opened[dsn]

    def close(self) -> None:
        for session in self._opened.values():
            session.close()
