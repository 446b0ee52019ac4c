"""Make the checks of all groups, each within a time limit, and collect what they find."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ..model.findings import Fault, Finding
from .check_group import CheckGroup, NotCheckedError

AT_ONCE = 4
"""Groups that are checked at the same time; each needs two sessions of a database at most."""


@dataclass(slots=True)
class Examined:
    """The outcome of one group."""

    group: CheckGroup
    passed: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    version: str = ""


_Answer = tuple[str, Sequence[Finding] | None]
"""A check and its findings, None if it could not be made; the check "" is the end."""


def examine(
    groups: Sequence[CheckGroup], seconds: float, report: Callable[[str], None]
) -> list[Examined]:
    """Return the outcome of each group, in their order; `report` gets each name when it is done.

    A check that takes longer than `seconds` is a finding, and the rest of its group is not checked.
    """

    def work(group: CheckGroup) -> Examined:
        outcome = _examine_group(group, seconds)
        report(group.name)
        return outcome

    with ThreadPoolExecutor(AT_ONCE) as executor:
        return list(_once(executor.map(work, groups)))


def _examine_group(group: CheckGroup, seconds: float) -> Examined:
    """Check in a thread of its own: one that hangs in a system call cannot be ended."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    outcome = Examined(group)
    threading.Thread(target=_run, args=(group, outcome, answers.put), daemon=True).start()
    for number, check in enumerate(group.checks):
        try:
            _, found = answers.get(timeout=seconds)
        except queue.Empty:
            outcome.findings.append(_too_slow(group, check, seconds))
            outcome.not_checked += [*group.checks][number + 1 :]
            return outcome
        if found is None:
            outcome.not_checked.append(check)
        elif found:
            outcome.findings += found
        else:
            outcome.passed.append(check)
    with suppress(queue.Empty):
        answers.get(timeout=seconds)
    return outcome


def _run(group: CheckGroup, outcome: Examined, answer: Callable[[_Answer], None]) -> None:
    sound = True
    for check in group.checks:
        found: list[Finding] | None
        try:
            found = list(group.findings(check))
        except NotCheckedError:
            found = None
        sound = sound and found == []
        answer((check, found))
    if sound and group.version:  # or the request for it would fail, too
        with suppress(Exception):
            outcome.version = group.version()
    group.close()
    answer(("", None))


def _too_slow(group: CheckGroup, check: str, seconds: float) -> Finding:
    fault = Fault(
        f"{group.name}: check {check} did not end in {seconds:g} seconds",
        "an answer",
        group.start,
    )
    return Finding(mapping=group.mapping, check=check, fault=fault)


def _once(outcomes: Iterable[Examined]) -> Iterator[Examined]:
    """Report each error once: the same error may prevent checks of several groups.

    A finding without an expectation comes from an error.
    """
    seen: set[str] = set()
    for outcome in outcomes:
        fresh = []
        for finding in outcome.findings:
            key = finding.fault.problem
            if key not in seen or finding.fault.expected:
                fresh.append(finding)
            elif finding.check not in {*outcome.not_checked, *(one.check for one in fresh)}:
                outcome.not_checked.append(finding.check)
            seen.add(key)
        yield replace(outcome, findings=fresh)
