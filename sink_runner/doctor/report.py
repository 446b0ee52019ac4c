"""Print what the checks found: for people, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..model.findings import Fault, Finding
from .examination import Examined


def is_sound(outcomes: Iterable[Examined]) -> bool:
    """Whether nothing was found."""
    return not any(outcome.findings for outcome in outcomes)


def lines(outcomes: Sequence[Examined]) -> Iterator[str]:
    """Yield a line for each group, then each finding in full."""
    width = max(len(outcome.group.name) for outcome in outcomes)
    for outcome in outcomes:
        details = [outcome.version] if outcome.version else []
        details += _count(len(outcome.findings), "finding") if outcome.findings else []
        details += [f"{len(outcome.passed)} of {len(outcome.group.checks)} checks passed"]
        if outcome.not_checked:
            details.append(f"{len(outcome.not_checked)} not made")
        state = _state(outcome.findings, "unknown" if outcome.not_checked else "ok")
        yield f"{state:<8} {outcome.group.name:<{width}}  {', '.join(details)}"
    for fault, (check, mappings) in _by_fault(outcomes).items():
        yield ""
        yield from _paragraph(fault, check, mappings)


def _paragraph(fault: Fault, check: str, mappings: Sequence[str]) -> Iterator[str]:
    where = f" of {', '.join(mappings)}" if any(mappings) else ""
    yield f"{_severity(fault)}: {check}{where}"
    yield f"  {fault.problem}"
    if fault.expected:
        yield f"  expected: {fault.expected}"
    yield f"  causes: {_effect(fault, mappings[0])}"
    yield f"  to do: {fault.remedy}"


def _by_fault(outcomes: Iterable[Examined]) -> Mapping[Fault, tuple[str, list[str]]]:
    """Return each fault once, with its check and the mappings that have it."""
    found: dict[Fault, tuple[str, list[str]]] = {}
    for outcome in outcomes:
        for finding in outcome.findings:
            found.setdefault(finding.fault, (finding.check, []))[1].append(finding.mapping)
    return found


def as_json(outcomes: Iterable[Examined]) -> dict[str, Any]:
    """Return the report as JSON; `sql` is a statement to paste, "" where the remedy has none."""
    outcomes = list(outcomes)
    return {
        "result": _state([finding for one in outcomes for finding in one.findings]),
        "groups": [
            {
                "group": outcome.group.name,
                "version": outcome.version or None,
                "passed": outcome.passed,
                "not_checked": outcome.not_checked,
                "findings": [_record(finding) for finding in outcome.findings],
            }
            for outcome in outcomes
        ],
    }


def _record(finding: Finding) -> dict[str, Any]:
    fault = finding.fault
    return {
        "check": finding.check,
        "mapping": finding.mapping or None,
        "column": fault.column or None,
        "severity": _severity(fault),
        "problem": fault.problem,
        "expected": fault.expected or None,
        "effect": _effect(fault, finding.mapping),
        "remedy": fault.remedy,
        "sql": fault.sql or None,
    }


def _state(findings: Sequence[Finding], otherwise: str = "ok") -> str:
    severities = {_severity(finding.fault) for finding in findings}
    return next((one for one in ("refused", "warning") if one in severities), otherwise)


def _severity(fault: Fault) -> str:
    return "refused" if fault.refused else "warning"


def _effect(fault: Fault, mapping: str) -> str:
    """Return what a finding of this severity does to the mappings that it concerns."""
    if not fault.refused:
        return "batch runs do not start" if fault.refuses_batch else "no mapping stops for it"
    if mapping:
        return "the mapping does not start, or pauses"
    return "the mappings that need this do not start, or pause"


def _count(number: int, what: str) -> list[str]:
    return [f"{number} {what}{'' if number == 1 else 's'}"]
