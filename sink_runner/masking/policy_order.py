"""The order in which Ranger evaluates policies of one priority: broader ones first.

Here the order never changes a mask, since overlapping policies that differ are refused.  It decides
which policy a decision names.
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
    """Return how broad a policy is by Ranger's rules."""
    resources = min(_MOST_FOR_RESOURCES, sum(map(_of_level, patterns)))
    if any(group.lower() == PUBLIC_GROUP for group in groups):
        return resources + _MOST_FOR_READERS
    return resources + min(_MOST_FOR_READERS, len(users) + len(groups))


def _of_level(pattern: Pattern) -> int:
    if "*" in pattern.values:
        return _ANY
    # A star counts once, with or without question marks; they count once without a star.
    wild = next((score for sign, score in (("*", _STAR), ("?", _MARK)) if _has(pattern, sign)), 0)
    return wild + (_EXCLUDES if pattern.excludes else 0)


def _has(pattern: Pattern, sign: str) -> bool:
    return any(sign in value for value in pattern.values)
