"""Run the commands after a run and search their output for secrets."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sink_stack.stack import sink_runner

from .search import Finding, Search

_WORKERS = 3
_MAX_CONFLICTS = 4
_EXPECTED_EXIT_CODES = (0, 1)
_WRITING_COMMANDS = (
    "batch golden-records --full",
    "batch profiles --full",
    "batch feedback --full",
    "batch citizens --full",
)
_READING_COMMANDS = (
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
    """Runs each command, checks that it works, and searches its output."""

    environment: Mapping[str, str]
    search: Search

    def run_writing(self) -> list[Finding]:
        """Run the commands that write, one after the other."""
        return [
            finding for command in _WRITING_COMMANDS for finding in self._search_output(command)
        ]

    def run_reading(self) -> list[Finding]:
        return self._run_all([*_READING_COMMANDS, *self._list_conflict_commands()])

    def inspect_dead_letters(self, since: str) -> list[Finding]:
        """Run `dlq show` and `dlq explain` for each dead letter since a time."""
        dead_letters = self._read_json(f"dlq list --status ALL --since {since} --json")
        classes = {
            (dead_letter["flow"], dead_letter["error_class"]) for dead_letter in dead_letters
        }
        print(f"dead letters: {sorted(classes)}")
        assert {flow for flow, _ in classes} >= {"golden-records", "citizens"}
        return self._run_all(
            f"dlq {action} {dead_letter['id']}"
            for dead_letter in dead_letters
            for action in ("show", "explain")
        )

    def _list_conflict_commands(self) -> list[str]:
        """Return a command for each of the newest conflicts, which have both types."""
        conflicts = self._read_json(f"conflicts list --all --most {_MAX_CONFLICTS} --json")
        assert {conflict["type"] for conflict in conflicts} >= {
            "deletion_conflict",
            "timestamp_conflict",
        }
        return [
            f"conflicts show {conflict['id']} --database {conflict['database']}"
            for conflict in conflicts
        ]

    def _run_all(self, commands: Iterable[str]) -> list[Finding]:
        with ThreadPoolExecutor(_WORKERS) as pool:
            return [
                finding
                for findings in pool.map(self._search_output, commands)
                for finding in findings
            ]

    def _search_output(self, command: str) -> list[Finding]:
        result = self._run(command)
        return self.search.find_in_bytes(f"the command {command}", result.stdout + result.stderr)

    def _read_json(self, command: str) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = json.loads(self._run(command).stdout)
        return records

    def _run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        result = subprocess.run(
            sink_runner(*command.split()), env=self.environment, capture_output=True, check=False
        )
        summary = (
            f"{command}: exit code {result.returncode}, {len(result.stdout)} bytes, "
            f"{result.stderr.decode()}"
        )
        print(summary)
        assert result.returncode in _EXPECTED_EXIT_CODES, summary
        assert result.stdout, summary
        assert b"Traceback" not in result.stderr, summary
        return result
