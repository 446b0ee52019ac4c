"""The order in which Ranger asks policies of one priority: broader ones first.

Ours never lets the order change a mask, since policies that differ are refused; but the one that
is named as having decided is the one that Ranger names.
"""

from __future__ import annotations

from collections.abc import Iterable

from .policy_resource import Pattern
from .principals import PUBLIC_GROUP

# As in RangerOptimizedPolicyEvaluator: what lowers a policy's number, and so moves it forward.
_ANY, _STAR, _MARK, _EXCLUDES = 25, 10, 5, 5
_MOST_FOR_RESOURCES = 100
_MOST_FOR_READERS = 25


def breadth(patterns: Iterable[Pattern], users: frozenset[str], groups: frozenset[str]) -> int:
    """How broad a policy is in Ranger's count."""
    resources = min(_MOST_FOR_RESOURCES, sum(map(_of_level, patterns)))
    if any(group.lower() == PUBLIC_GROUP for group in groups):
        return resources + _MOST_FOR_READERS
    return resources + min(_MOST_FOR_READERS, len(users) + len(groups))


def _of_level(pattern: Pattern) -> int:
    if "*" in pattern.values:
        return _ANY
    # A star counts once, whatever other signs there are; so does a question mark without one.
    wild = next((score for sign, score in (("*", _STAR), ("?", _MARK)) if _has(pattern, sign)), 0)
    return wild + (_EXCLUDES if pattern.excludes else 0)


def _has(pattern: Pattern, sign: str) -> bool:
    return any(sign in value for value in pattern.values)
