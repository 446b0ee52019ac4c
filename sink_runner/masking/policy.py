"""Masking policies: how a group of readers may see a column, decided as Apache Ranger does.

A column that is classified, or that any policy speaks of, is never written in clear by omission:
the group that it reaches needs a policy, be it an explicit MASK_NONE.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from ..errors import PolicyError
from .masks import MaskFunction, MaskKind
from .policy_file import Policy, PolicyFiles, read_directory

KEY_VARIABLE = "SINK_MASK_KEY"


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
        """Changes whenever a file does, even if nobody raised the version."""
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
        """Return what Ranger would decide for one reader; None if no policy speaks to it."""
        for policy in self._matching(ColumnName(database, schema, table, column)):
            item = policy.item_for(user, group)
            if item:
                return Mask(
                    kind=item.kind,
                    function=item.function,
                    policy_id=policy.id,
                    policy_version=policy.version,
                )
        return None

    def classified(self, database: str, schema: str, table: str, column: str) -> frozenset[str]:
        """Return the tags of a column; none for a column that is not personal."""
        name = tuple(part.lower() for part in (database, schema, table, column))
        return self.files.tags.get(name, frozenset())

    def mask_for_target(
        self, database: str, schema: str, table: str, column: str, group: str
    ) -> Mask | None:
        """Return the mask of a source column on its way to `group`; None if nobody need care.

        A personal column that nothing allows or masks for the group is a PolicyError.
        """
        name = ColumnName(database, schema, table, column)
        mask = self.mask_for(*name, group)
        if mask is None:
            tags = self.classified(*name)
            if tags:
                raise PolicyError(_missing(name, group, f"is classified {', '.join(sorted(tags))}"))
            for policy in self._matching(name):
                raise PolicyError(_missing(name, group, f"is named by policy {policy.id}"))
        return mask

    def check(self, columns: Iterable[ColumnName], group: str) -> dict[ColumnName, Mask]:
        """Return the masks of all columns that reach `group`; one PolicyError names all faults."""
        masks: dict[ColumnName, Mask] = {}
        faults = []
        for name in columns:
            try:
                mask = self.mask_for_target(*name, group)
            except PolicyError as exc:
                faults.append(str(exc))
            else:
                if mask:
                    masks[name] = mask
        if faults:
            raise PolicyError("\n".join(faults))
        return masks

    def _matching(self, name: ColumnName) -> Iterable[Policy]:
        return (policy for policy in self.files.policies if policy.resource.matches(name))


def load_policies(directory: Path, environ: Mapping[str, str] | None = None) -> Policies:
    """Load a policy directory or raise PolicyError; the key of MASK_HASH is in the environment."""
    key = (os.environ if environ is None else environ).get(KEY_VARIABLE)
    files = read_directory(directory, key.encode() if key else None)
    for one, other in combinations(files.policies, 2):
        _refuse_ambiguity(one, other)
    return Policies(files)


def _refuse_ambiguity(one: Policy, other: Policy) -> None:
    """Ranger lets the broader policy win, which surprises everybody: make the author choose."""
    if one.priority != other.priority or not one.resource.meets(other.resource):
        return
    items = (*one.items, *other.items)
    users = {None, *(user for item in items for user in item.users)}
    groups = {None, *(group for item in items for group in item.groups)}
    for user, group in product(users, groups):
        mine, theirs = one.item_for(user, group), other.item_for(user, group)
        if mine and theirs and mine.outcome != theirs.outcome:
            reader = f"user {user!r}" if user else f"group {group!r}"
            raise PolicyError(
                f"policies {one.id} ({one.name}) and {other.id} ({other.name}) decide differently "
                f"for {reader} on the same column; narrow one, or give it policyPriority 1"
            )


def _missing(name: ColumnName, group: str, why: str) -> str:
    return (
        f"{name} {why} and reaches group {group!r} without a masking policy; add an item for the "
        "group to policies.json: a mask, or MASK_NONE to show the column on purpose"
    )
