"""Masking policies: how a group of readers may see a column, decided as Apache Ranger does.

A column that is classified, or that any policy speaks of, is never written in clear by omission:
the group that it reaches needs a policy, be it an explicit MASK_NONE.
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
from .principals import Reader, group_reader, reader_for_person


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
    """A decision. `function` is None for MASK_NONE: the value is shown as it is, on purpose."""

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

    def mask_for(
        self,
        database: str,
        schema: str,
        table: str,
        column: str,
        group: str,
        *,
        user: str | None = None,
    ) -> Mask | None:
        """Return what Ranger would decide for one reader; None if no policy matches."""
        return self.decide(
            ColumnName(database, schema, table, column), Reader(user, frozenset({group}))
        )

    def decide(self, name: ColumnName, reader: Reader) -> Mask | None:
        """Return the mask for a reader; raise PolicyError where policies of its groups disagree."""
        found: tuple[Policy, MaskItem] | None = None
        for policy in self._matching(name):
            item = policy.item_for(reader)
            if item and found is None:
                found = policy, item
            elif item and found and policy.priority == found[0].priority:
                _check_agreed(name, reader, found, (policy, item))
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

    def person(self, user: str) -> Reader:
        """Return the reader for a user, with the groups of `users.json`."""
        return reader_for_person(self.files.people, user)

    def classified(self, database: str, schema: str, table: str, column: str) -> frozenset[str]:
        """Return the tags of a column; none for a column that is not personal."""
        name = tuple(part.lower() for part in (database, schema, table, column))
        return self.files.classification.tags.get(name, frozenset())

    def hides(self, name: ColumnName) -> bool:
        """Whether the column is personal: classified, or masked for some reader."""
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
        """Whether any policy names the column, for any reader."""
        return any(True for _ in self._matching(name))

    def mask_for_target(
        self, database: str, schema: str, table: str, column: str, group: str
    ) -> Mask | None:
        """Return the mask of a source column on its way to `group`; None if it is not personal.

        A personal column that nothing allows or masks for the group is a PolicyError.
        """
        return self.decide_closed(ColumnName(database, schema, table, column), group_reader(group))

    def decide_closed(self, name: ColumnName, reader: Reader) -> Mask | None:
        """Return the mask for any reader; None only for a column without tag and policy."""
        mask = self.decide(name, reader)
        if mask is None:
            tags = self.classified(*name)
            if tags:
                why = f"is classified {', '.join(sorted(tags))}"
                raise PolicyError(_missing(name, reader, why))
            for policy in self._matching(name):
                raise PolicyError(_missing(name, reader, f"is named by policy {policy.id}"))
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
    """Refuse what Ranger resolves in favour of the broader policy, against most expectations."""
    if one.priority != other.priority or not one.resource.meets(other.resource):
        return
    for reader in _readers((*one.items, *other.items), people):
        mine, theirs = one.item_for(reader), other.item_for(reader)
        if mine and theirs and mine.outcome != theirs.outcome:
            raise PolicyError(
                f"policies {one.id} ({one.name}) and {other.id} ({other.name}) decide differently "
                f"for {reader} on the same column; narrow one, or give it policyPriority 1"
            )


def _readers(items: Iterable[MaskItem], people: Mapping[str, frozenset[str]]) -> Iterable[Reader]:
    """Yield the readers for which the items may differ: each group, and users with theirs."""
    items = tuple(items)
    users = {user for item in items for user in item.users}
    groups = [frozenset[str](), *(frozenset({name}) for item in items for name in item.groups)]
    yield from (Reader(user, group) for user, group in product([None, *sorted(users)], groups))
    yield from (Reader(user, mine) for user, mine in people.items())


def _check_agreed(
    name: ColumnName,
    reader: Reader,
    one: tuple[Policy, MaskItem],
    other: tuple[Policy, MaskItem],
) -> None:
    if one[1].outcome != other[1].outcome:
        raise PolicyError(
            f"policies {one[0].id} and {other[0].id} decide differently on {name} for {reader}; "
            "list the user in users.json, and the check at start names both"
        )


def _missing(name: ColumnName, reader: Reader, why: str) -> str:
    return (
        f"{name} {why} and reaches {reader} without a masking policy; add an item for the "
        "group to policies.json: a mask, or MASK_NONE to show the column on purpose"
    )
