"""Match the columns of a policy as Ranger does, and find policies that overlap."""

from __future__ import annotations

import re
from dataclasses import dataclass

LEVELS = ("database", "schema", "table", "column")


@dataclass(frozen=True, slots=True)
class Pattern:
    """The names of one level. `*` is any text, `?` any character; case is ignored.

    With `excludes`, every name but these.
    """

    values: tuple[str, ...]
    excludes: bool = False

    def matches(self, name: str) -> bool:
        return any(_matches(value, name) for value in self.values) is not self.excludes

    def meets(self, other: Pattern) -> bool:
        """Return whether some name may match both; True if that is uncertain."""
        if self._is_empty or other._is_empty:
            return False
        if self.excludes and other.excludes:
            return True
        if self.excludes:
            return other.meets(self)
        if other.excludes:
            return any(not other.covers(value) for value in self.values)
        return any(_meet(mine, theirs) for mine in self.values for theirs in other.values)

    @property
    def _is_empty(self) -> bool:
        return self.excludes and "*" in self.values

    def covers(self, pattern: str) -> bool:
        """Return whether one value certainly matches each name that `pattern` matches."""
        # A star may match more than the one character of a question mark.
        return any(_matches(value, pattern, one="[^*]") for value in self.values)


@dataclass(frozen=True, slots=True)
class Resource:
    """The columns of a policy: a pattern for each of `LEVELS`."""

    patterns: tuple[Pattern, ...]

    def matches(self, names: tuple[str, ...]) -> bool:
        return all(map(Pattern.matches, self.patterns, names))

    def meets(self, other: Resource) -> bool:
        return all(map(Pattern.meets, self.patterns, other.patterns))


def _matches(pattern: str, name: str, *, one: str = ".") -> bool:
    wild = {"*": ".*", "?": one}
    parts = (wild.get(char) or re.escape(char) for char in pattern.lower())
    return re.fullmatch("".join(parts), name.lower(), re.DOTALL) is not None


def _meet(left: str, right: str) -> bool:
    """Whether a name matches both patterns.

    Each pair of positions is visited once: the time grows with the product of the lengths.
    """
    left, right = left.lower(), right.lower()
    todo, seen = [(0, 0)], {(0, 0)}
    while todo:
        at, to = todo.pop()
        if at == len(left) and to == len(right):
            return True
        for step in _steps(left[at : at + 1], right[to : to + 1]):
            pair = (at + step[0], to + step[1])
            if pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return False


def _steps(left: str, right: str) -> list[tuple[int, int]]:
    """Return the steps of both; a star stays while the other side passes a character."""
    steps = []
    if left == "*":
        steps += [(1, 0), (0, 1)] if right else [(1, 0)]
    if right == "*":
        steps += [(0, 1), (1, 0)] if left else [(0, 1)]
    if left and right and "*" not in (left, right) and (left == right or "?" in (left, right)):
        steps.append((1, 1))
    return steps
