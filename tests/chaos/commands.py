"""What the commands print after a run, searched for what they must not tell."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sink_stack.stack import sink_runner

from .search import Find, Search

_AT_ONCE = 3
_CONFLICTS = 4
_DONE = (0, 1)
_WORKING = (
    "batch golden-records --full",
    "batch profiles --full",
    "batch feedback --full",
    "batch citizens --full",
)
_LOOKING = (
    "plugins",
    "config",
    "quality",
    "quality --json",
    "dlq list --wide",
    "dlq list --status ALL --json",
    "dlq list --summary",
    "dlq export --status ALL",
    "dlq export --format csv --as portal-operator",
    "conflicts list --wide",
    "conflicts list --all --json",
    "audit --wide",
    "audit --json --most 1000",
    "schedule --list",
    "schema check",
    "schema check --json",
    "policies check",
    "policies show --wide",
    "recover smart_warehouse --dry-run",
    "recover smart_citizen --dry-run --json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Someone with a shell; each command has to do what it is for, and to tell no value."""

    environment: Mapping[str, str]
    search: Search

    def work(self) -> list[Find]:
        """One after the other: they write."""
        return [find for command in _WORKING for find in self._searched(command)]

    def look(self) -> list[Find]:
        return self._all([*_LOOKING, *self._conflicts()])

    def dead_letters(self, since: str) -> list[Find]:
        """Each dead letter since then: shown, and sent through the chain once more."""
        found = self._records(f"dlq list --status ALL --since {since} --json")
        faults = {(one["flow"], one["error_class"]) for one in found}
        print(f"letters: {sorted(faults)}")
        assert {flow for flow, _ in faults} >= {"golden-records", "citizens"}
        return self._all(
            f"dlq {action} {one['id']}" for one in found for action in ("show", "explain")
        )

    def _conflicts(self) -> list[str]:
        """The newest ones: of each kind that the run has made."""
        found = self._records(f"conflicts list --all --most {_CONFLICTS} --json")
        assert {one["type"] for one in found} >= {"deletion_conflict", "timestamp_conflict"}
        return [f"conflicts show {one['id']} --database {one['database']}" for one in found]

    def _all(self, commands: Iterable[str]) -> list[Find]:
        with ThreadPoolExecutor(_AT_ONCE) as several:
            return [find for found in several.map(self._searched, commands) for find in found]

    def _searched(self, command: str) -> list[Find]:
        told = self._told(command)
        return self.search.in_bytes(f"the command {command}", told.stdout + told.stderr)

    def _records(self, command: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._told(command).stdout)
        return found

    def _told(self, command: str) -> subprocess.CompletedProcess[bytes]:
        told = subprocess.run(
            sink_runner(*command.split()), env=self.environment, capture_output=True, check=False
        )
        said = f"{command}: {told.returncode}, {len(told.stdout)} bytes, {told.stderr.decode()}"
        print(said)
        assert told.returncode in _DONE, said
        assert told.stdout, said
        assert b"Traceback" not in told.stderr, said
        return told
