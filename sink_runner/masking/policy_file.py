"""Read the masking policies of a directory, in Ranger's JSON.

Ranger ignores an unknown field. Here it is a PolicyError: a misspelt field might be the one that
masks a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PolicyError
from .classification import CLASSIFICATION, Classification, read_classification
from .masks import MaskFunction, MaskKind, compile_mask
from .policy_json import (
    check_fields,
    check_one_of,
    objects_of,
    parse_object,
    read_file,
    texts_of,
    value_of,
)
from .policy_order import breadth
from .policy_resource import LEVELS, Pattern, Resource
from .principals import PUBLIC_GROUP, Principal, read_people, read_users_file

SERVICE_DEFINITION = "servicedef-sink.json"
POLICIES = "policies.json"

_ACCESS_POLICY, _MASK_POLICY = 0, 1
_OPTIONS = {"wildCard": "true", "ignoreCase": "true"}
_MATCHER = "org.apache.ranger.plugin.resourcematcher.RangerDefaultResourceMatcher"
_PRIORITIES = {0, 1}  # normal, override

# Fields that do not affect a decision.
_FILE_NOTES = {"serviceId", "policyUpdateTime", "auditMode"}
_POLICY_NOTES = {
    "guid", "description", "isAuditEnabled", "policyLabels", "serviceType", "resourceSignature",
    "createdBy", "updatedBy", "createTime", "updateTime",
}  # fmt: skip
# Fields that affect decisions of Ranger and are not supported here, so they must be empty.
_FILE_EMPTY = {"tagPolicies", "securityZones", "policyDeltas", "gdsPolicies"}
_POLICY_EMPTY = {
    "policyItems", "denyPolicyItems", "allowExceptions", "denyExceptions", "rowFilterPolicyItems",
    "validitySchedules", "conditions", "isDenyAllElse", "options", "zoneName",
    "additionalResources",
}  # fmt: skip
_FILE_FIELDS = {"serviceName", "policyVersion", "policies"}
_POLICY_FIELDS = {
    "id", "version", "name", "service", "isEnabled", "policyType", "policyPriority", "resources",
    "dataMaskPolicyItems",
}  # fmt: skip
_ITEM_FIELDS = {"accesses", "users", "groups", "dataMaskInfo"}
_ITEM_NOTES = {"delegateAdmin"}
_ITEM_EMPTY = {"roles", "conditions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskItem:
    """One item of a policy: its principals and their mask. `function` is None for MASK_NONE."""

    users: frozenset[str]
    groups: frozenset[str]
    kind: MaskKind
    expression: str | None
    function: MaskFunction | None

    def applies_to(self, principal: Principal) -> bool:
        groups = {*principal.groups, PUBLIC_GROUP}
        return principal.user in self.users or not self.groups.isdisjoint(groups)

    @property
    def outcome(self) -> tuple[MaskKind, str | None]:
        return self.kind, self.expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An enabled masking policy."""

    id: int
    version: int
    name: str
    priority: int
    resource: Resource
    items: tuple[MaskItem, ...]

    @property
    def sort_key(self) -> tuple[int, int, str]:
        """Ranger's order of evaluation."""
        users = frozenset[str]().union(*(item.users for item in self.items))
        groups = frozenset[str]().union(*(item.groups for item in self.items))
        return -self.priority, -breadth(self.resource.patterns, users, groups), self.name

    def item_for(self, principal: Principal) -> MaskItem | None:
        """Return the first item that applies to the principal, as Ranger does."""
        return next((item for item in self.items if item.applies_to(principal)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFiles:
    """The content of a policy directory. `people` has the groups of each user."""

    version: int
    digest: str
    policies: tuple[Policy, ...]
    classification: Classification = field(default_factory=Classification)
    people: Mapping[str, frozenset[str]] = field(default_factory=dict)


def read_directory(directory: Path, key: bytes | None) -> PolicyFiles:
    """Read and check all files; `key` is the key of MASK_HASH."""
    contents = {
        name: read_file(directory / name) for name in (SERVICE_DEFINITION, POLICIES, CLASSIFICATION)
    }
    definition, policies, classification = (
        parse_object(content, name) for name, content in contents.items()
    )
    users = read_users_file(directory)
    whole = b"\0".join([*contents.values(), users or b""])
    reader = _PolicyReader(kinds=_mask_kinds(definition), key=key)
    return PolicyFiles(
        version=value_of(policies, "policyVersion", int, POLICIES),
        digest=hashlib.sha256(whole).hexdigest()[:12],
        policies=reader.read(policies),
        classification=read_classification(classification),
        people=read_people(users),
    )


@dataclass(frozen=True, slots=True)
class _PolicyReader:
    kinds: frozenset[str]
    key: bytes | None

    def read(self, content: dict[str, Any]) -> tuple[Policy, ...]:
        check_fields(content, POLICIES, _FILE_FIELDS, _FILE_NOTES | {"serviceDef"}, _FILE_EMPTY)
        # Ranger Admin adds to a definition; only mask types and levels must be equal.
        if "serviceDef" in content and self.kinds != _mask_kinds(
            value_of(content, "serviceDef", dict, POLICIES), f"{POLICIES}, serviceDef"
        ):
            raise PolicyError(f"{POLICIES}: its serviceDef differs from {SERVICE_DEFINITION}")
        service = value_of(content, "serviceName", str, POLICIES)
        found = [
            self._policy(policy, service)
            for policy in objects_of(content, "policies", POLICIES)
            # Ranger, too, ignores a disabled policy, and masks do not depend on access policies.
            if policy.get("isEnabled", True) is not False and not _only_grants_access(policy)
        ]
        for what in ("id", "name"):
            values = [getattr(policy, what) for policy in found]
            twice = {str(value) for value in values if values.count(value) > 1}
            if twice:
                raise PolicyError(f"{POLICIES}: {what} used twice: {', '.join(sorted(twice))}")
        return tuple(sorted(found, key=lambda policy: policy.sort_key))

    def _policy(self, content: dict[str, Any], service: str) -> Policy:
        where = f"policy {content.get('id')} ({content.get('name')})"
        check_fields(content, where, _POLICY_FIELDS, _POLICY_NOTES, _POLICY_EMPTY)
        check_one_of(content, "isEnabled", {True}, where, default=True)
        check_one_of(content, "policyType", {_MASK_POLICY}, where)
        check_one_of(content, "policyPriority", _PRIORITIES, where, default=0)
        check_one_of(content, "service", {service}, where, default=service)
        items = objects_of(content, "dataMaskPolicyItems", where)
        return Policy(
            id=value_of(content, "id", int, where),
            version=value_of(content, "version", int, where),
            name=value_of(content, "name", str, where),
            priority=content.get("policyPriority", 0),
            resource=_resource(value_of(content, "resources", dict, where), where),
            items=tuple(self._item(item, where) for item in items),
        )

    def _item(self, content: dict[str, Any], where: str) -> MaskItem:
        check_fields(content, where, _ITEM_FIELDS, _ITEM_NOTES, _ITEM_EMPTY)
        _check_accesses(objects_of(content, "accesses", where), where)
        users, groups = (
            frozenset(texts_of(content, who, where)) if content.get(who) else frozenset[str]()
            for who in ("users", "groups")
        )
        if not users | groups:
            raise PolicyError(f"{where}: an item without users and groups never applies; name one")
        if "*" in users | groups:
            raise PolicyError(
                f"{where}: '*' is not a name; the group of all users is {PUBLIC_GROUP!r}"
            )
        info = value_of(content, "dataMaskInfo", dict, where)
        check_fields(info, where, {"dataMaskType", "valueExpr"}, set(), {"conditionExpr"})
        expression = info.get("valueExpr") or None
        kind = value_of(info, "dataMaskType", str, where)
        if kind not in self.kinds:
            raise PolicyError(f"{where}: no mask type {kind!r}; one of {sorted(self.kinds)}")
        try:
            function = compile_mask(MaskKind(kind), expression, key=self.key)
        except PolicyError as exc:
            raise PolicyError(f"{where}: {exc}") from exc
        return MaskItem(
            users=users, groups=groups, kind=MaskKind(kind), expression=expression,
            function=function,
        )  # fmt: skip


def _only_grants_access(policy: dict[str, Any]) -> bool:
    """Whether it is an access policy without denials, as Ranger Admin creates for each service.

    A policy with denials is refused: it is meant to protect a column, and masks ignore access.
    """
    filled = {name for name in _POLICY_EMPTY | {"dataMaskPolicyItems"} if policy.get(name)}
    return policy.get("policyType") == _ACCESS_POLICY and filled <= {"policyItems"}


def _mask_kinds(definition: dict[str, Any], where: str = SERVICE_DEFINITION) -> frozenset[str]:
    """Check that the service definition has only what is implemented; return its mask types."""
    masking = value_of(definition, "dataMaskDef", dict, where)
    for owner in (definition, masking):
        resources = objects_of(owner, "resources", where)
        if tuple(resource.get("name") for resource in resources) != LEVELS:
            raise PolicyError(f"{where}: resources must be {', '.join(LEVELS)}, in this order")
        for resource in resources:
            if resource.get("matcherOptions") != _OPTIONS:
                raise PolicyError(f"{where}: {resource['name']} must set wildCard and ignoreCase")
            if resource.get("matcher", _MATCHER) != _MATCHER:
                raise PolicyError(f"{where}: {resource['name']} must use {_MATCHER}")
    kinds = {value_of(kind, "name", str, where) for kind in objects_of(masking, "maskTypes", where)}
    unknown = kinds - set(MaskKind)
    if unknown:
        raise PolicyError(f"{where}: no such mask types: {', '.join(sorted(unknown))}; remove them")
    return frozenset(kinds)


def _resource(content: dict[str, Any], where: str) -> Resource:
    if set(content) != set(LEVELS):
        raise PolicyError(f"{where}: resources must name each of {', '.join(LEVELS)}")
    return Resource(tuple(_pattern(content[level], f"{where}, {level}") for level in LEVELS))


def _pattern(content: dict[str, Any], where: str) -> Pattern:
    check_fields(content, where, {"values", "isExcludes"}, set(), {"isRecursive"})
    check_one_of(content, "isExcludes", {True, False}, where, default=False)
    return Pattern(tuple(texts_of(content, "values", where)), content.get("isExcludes", False))


def _check_accesses(accesses: Sequence[dict[str, Any]], where: str) -> None:
    for access in accesses:
        check_fields(access, where, {"type", "isAllowed"}, set(), set())
        if access.get("type", "select") != "select":
            raise PolicyError(f"{where}: no access {access['type']!r}; there is select only")
    if not any(a.get("type") == "select" and a.get("isAllowed") is True for a in accesses):
        raise PolicyError(f"{where}: an item without an allowed select never applies; add one")
