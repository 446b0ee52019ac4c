"""Hold a plugin's requirement on the runner against the runner that runs.

pip checks it when the plugin is installed, and nobody when the runner is upgraded later.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, version
from itertools import zip_longest

RUNNER = "sink-runner"

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*v?(\d+(?:\.\d+)*)(\.\*)?")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def runner_fault(dist: Distribution) -> str | None:
    """Return why the running runner is not the one that `dist` requires, None if it is."""
    try:
        running = version(RUNNER)
    except PackageNotFoundError:
        return None  # run from a source tree: there is no version to compare with
    for text in dist.requires or ():
        match = _REQUIREMENT.fullmatch(text.strip())
        if not match or re.sub(r"[-_.]+", "-", match[1]).lower() != RUNNER:
            continue
        if match[3] and "extra" in match[3]:
            continue  # wanted by the plugin's tests, not by the plugin
        if not _allows(match[2], running):
            return f"requires {RUNNER} {match[2].strip()}, and this is {running}"
    return None


def _allows(clauses: str, running: str) -> bool:
    """Compare release numbers; a clause that is more than that is not met."""
    release = re.match(r"v?(\d+(?:\.\d+)*)", running)
    if release is None:
        return False
    numbers = _numbers(release[1])
    return all(_meets(clause.strip(), numbers) for clause in clauses.split(",") if clause.strip())


def _meets(clause: str, running: list[int]) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return False
    sign, wanted, star = match[1], _numbers(match[2]), match[3]
    if sign == "~=":
        return _sign(running, wanted) >= 0 and running[: len(wanted) - 1] == wanted[:-1]
    if star:
        running = (running + [0] * len(wanted))[: len(wanted)]
    return _COMPARE[sign](_sign(running, wanted), 0)


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]


def _sign(left: list[int], right: list[int]) -> int:
    """Return -1, 0 or 1 as `left` is older than, equal to, or newer than `right`."""
    for a, b in zip_longest(left, right, fillvalue=0):
        if a != b:
            return -1 if a < b else 1
    return 0
