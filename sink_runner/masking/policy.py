"""Masking policies: how a principal may see a column, decided as Apache Ranger does.

A column that is classified, or that any policy names, is never written unmasked by omission: the
group that it reaches needs a policy, at least an explicit MASK_NONE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from ..errors import PolicyError
from .masks import MaskFunction, MaskKind
from .pii_heuristics import looks_personal
from .policy_file import MaskItem, Policy, PolicyFiles, read_directory
from .principals import Principal, user_principal


class ColumnName(NamedTuple):
    """A column by its full name."""

    database: str
    schema: str
    table: str
    column: str

    def __str__(self) -> str:
        return ".".join(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A decision; `function` is None for MASK_NONE, which shows the value unmasked on purpose."""

    kind: MaskKind
    expression: str | None = None
    function: MaskFunction | None
    policy_id: int
    policy_version: int


@dataclass(frozen=True, slots=True)
class Policies:
    """The enabled policies, those that override first, and the classification."""

    files: PolicyFiles

    @property
    def version(self) -> int:
        """`policyVersion` of the file."""
        return self.files.version

    @property
    def digest(self) -> str:
        """Return a hash of the files: it changes with any of them, whatever the version."""
        return self.files.digest

    def decide(self, name: ColumnName, principal: Principal) -> Mask | None:
        """Return the mask for a principal; raise PolicyError if policies of its groups disagree."""
        found: tuple[Policy, MaskItem] | None = None
        for policy in self._matching(name):
            item = policy.item_for(principal)
            if item and found is None:
                found = policy, item
            elif item and found and policy.priority == found[0].priority:
                _check_agreed(name, principal, found, (policy, item))
        if found is None:
            return None
        policy, item = found
        return Mask(
            kind=item.kind,
            expression=item.expression,
            function=item.function,
            policy_id=policy.id,
            policy_version=policy.version,
        )

    def person(self, user: str) -> Principal:
        """Return the principal for a user, with the groups of `users.json`."""
        return user_principal(self.files.people, user)

    def classified(self, database: str, schema: str, table: str, column: str) -> frozenset[str]:
        """Return the tags of a column; none for a column that is not personal."""
        name = tuple(part.lower() for part in (database, schema, table, column))
        return self.files.classification.tags.get(name, frozenset())

    def hides(self, name: ColumnName) -> bool:
        """Whether the column is personal: classified, or masked for some principal."""
        masked = (item.kind for policy in self._matching(name) for item in policy.items)
        return bool(self.classified(*name)) or any(kind is not MaskKind.NONE for kind in masked)

    def is_classified(self, name: ColumnName) -> bool:
        """Whether the column is declared personal or not personal."""
        known = self.files.classification
        key = tuple(part.lower() for part in name)
        return key in known.tags or key in known.not_personal

    def undecided(self, name: ColumnName, type_: str) -> bool:
        """Whether the column is unclassified and looks personal."""
        return not self.is_classified(name) and looks_personal(name.column, type_)

    def named(self, name: ColumnName) -> bool:
        """Whether any policy names the column, for any principal."""
        return any(True for _ in self._matching(name))

    def decide_closed(self, name: ColumnName, principal: Principal) -> Mask | None:
        """Return the mask for a principal; None only for a column that is not personal.

        Raises PolicyError for a personal column that no policy masks or permits.
        """
        mask = self.decide(name, principal)
        if mask is None:
            tags = self.classified(*name)
            if tags:
                why = f"is classified {', '.join(sorted(tags))}"
                raise PolicyError(_missing(name, principal, why))
            for policy in self._matching(name):
                raise PolicyError(_missing(name, principal, f"is named by policy {policy.id}"))
        return mask

    def _matching(self, name: ColumnName) -> Iterable[Policy]:
        return (policy for policy in self.files.policies if policy.resource.matches(name))


def load_policies(directory: Path, key: str = "") -> Policies:
    """Load a policy directory or raise PolicyError; `key` is MASK_HASH's."""
    files = read_directory(directory, key.encode() or None)
    in_order = sorted(files.policies, key=lambda policy: policy.id)
    for one, other in combinations(in_order, 2):
        _refuse_ambiguity(one, other, files.people)
    return Policies(files)


def _refuse_ambiguity(one: Policy, other: Policy, people: Mapping[str, frozenset[str]]) -> None:
    """Refuse overlapping policies, of which Ranger would prefer the broader one."""
    if one.priority != other.priority or not one.resource.meets(other.resource):
        return
    for principal in _principals((*one.items, *other.items), people):
        mine, theirs = one.item_for(principal), other.item_for(principal)
        if mine and theirs and mine.outcome != theirs.outcome:
            raise PolicyError(
                f"policies {one.id} ({one.name}) and {other.id} ({other.name}) decide differently "
                f"for {principal} on the same column; narrow one, or give it policyPriority 1"
            )


def _principals(
    items: Iterable[MaskItem], people: Mapping[str, frozenset[str]]
) -> Iterable[Principal]:
    """Yield the principals for which the items may differ: each group, and users with theirs."""
    items = tuple(items)
    users = {user for item in items for user in item.users}
    groups = [frozenset[str](), *(frozenset({name}) for item in items for name in item.groups)]
    yield from (Principal(user, group) for user, group in product([None, *sorted(users)], groups))
    yield from (Principal(user, mine) for user, mine in people.items())


def _check_agreed(
    name: ColumnName,
    principal: Principal,
    one: tuple[Policy, MaskItem],
    other: tuple[Policy, MaskItem],
) -> None:
    if one[1].outcome != other[1].outcome:
        raise PolicyError(
            f"policies {one[0].id} and {other[0].id} decide differently on {name} for {principal}; "
            "list the user in users.json, and the check at start names both"
        )


def _missing(name: ColumnName, principal: Principal, why: str) -> str:
    return (
        f"{name} {why} and reaches {principal} without a masking policy; add an item for the "
        "group to policies.json: a mask, or MASK_NONE to show the column on purpose"
    )
