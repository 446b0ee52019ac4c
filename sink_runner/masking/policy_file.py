"""Read the masking policies of a directory: Ranger's JSON in, policies or a PolicyError out.

Ranger ignores what it does not know; here an unknown field stops the load, since a misspelt one
might be what keeps a column hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PolicyError
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
from .policy_resource import LEVELS, Pattern, Resource

SERVICE_DEFINITION = "servicedef-sink.json"
POLICIES = "policies.json"
CLASSIFICATION = "classification.json"

EVERYBODY = "public"  # Ranger's group that all belong to

_MASK_POLICY = 1
_OPTIONS = {"wildCard": "true", "ignoreCase": "true"}
_MATCHER = "org.apache.ranger.plugin.resourcematcher.RangerDefaultResourceMatcher"
_PRIORITIES = {0, 1}  # normal, override

# Fields that tell people or Ranger Admin something but decide nothing.
_FILE_NOTES = {"serviceId", "policyUpdateTime", "auditMode"}
_POLICY_NOTES = {
    "guid", "description", "isAuditEnabled", "policyLabels", "serviceType", "resourceSignature",
    "createdBy", "updatedBy", "createTime", "updateTime",
}  # fmt: skip
# Fields that would decide something in Ranger and are not supported here: they must be empty.
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
    """One line of a policy: who sees the column, and how. `function` is None for MASK_NONE."""

    users: frozenset[str]
    groups: frozenset[str]
    kind: MaskKind
    expression: str | None
    function: MaskFunction | None

    def speaks_to(self, user: str | None, group: str | None) -> bool:
        return user in self.users or group in self.groups or EVERYBODY in self.groups

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

    def item_for(self, user: str | None, group: str | None) -> MaskItem | None:
        """The first item that speaks to the reader, as in Ranger."""
        return next((item for item in self.items if item.speaks_to(user, group)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFiles:
    """All that a policy directory says. `tags` are by (database, schema, table, column)."""

    version: int
    digest: str
    policies: tuple[Policy, ...]
    tags: Mapping[tuple[str, ...], frozenset[str]]


def read_directory(directory: Path, key: bytes | None) -> PolicyFiles:
    """Read and check all three files; `key` is for MASK_HASH."""
    contents = {
        name: read_file(directory / name) for name in (SERVICE_DEFINITION, POLICIES, CLASSIFICATION)
    }
    definition, policies, classification = (
        parse_object(content, name) for name, content in contents.items()
    )
    reader = _PolicyReader(kinds=_mask_kinds(definition), key=key)
    return PolicyFiles(
        version=value_of(policies, "policyVersion", int, POLICIES),
        digest=hashlib.sha256(b"\0".join(contents.values())).hexdigest()[:12],
        policies=reader.read(policies, definition),
        tags=_tags(classification),
    )


@dataclass(frozen=True, slots=True)
class _PolicyReader:
    kinds: frozenset[str]
    key: bytes | None

    def read(self, content: dict[str, Any], definition: dict[str, Any]) -> tuple[Policy, ...]:
        check_fields(content, POLICIES, _FILE_FIELDS, _FILE_NOTES | {"serviceDef"}, _FILE_EMPTY)
        if content.get("serviceDef", definition) != definition:
            raise PolicyError(f"{POLICIES}: its serviceDef differs from {SERVICE_DEFINITION}")
        service = value_of(content, "serviceName", str, POLICIES)
        found = [
            self._policy(policy, service)
            for policy in objects_of(content, "policies", POLICIES)
            # As in Ranger, a disabled policy is not looked at.
            if policy.get("isEnabled", True) is not False
        ]
        for what in ("id", "name"):
            values = [getattr(policy, what) for policy in found]
            twice = {str(value) for value in values if values.count(value) > 1}
            if twice:
                raise PolicyError(f"{POLICIES}: {what} used twice: {', '.join(sorted(twice))}")
        # Ranger's order, as far as it can matter where ties are refused.
        return tuple(sorted(found, key=lambda policy: (-policy.priority, policy.name)))

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
            raise PolicyError(f"{where}: '*' is nobody's name; the group of all is {EVERYBODY!r}")
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


def _mask_kinds(definition: dict[str, Any]) -> frozenset[str]:
    """Check that the service definition promises what is implemented; return its mask types."""
    where = SERVICE_DEFINITION
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


def _tags(content: dict[str, Any]) -> dict[tuple[str, ...], frozenset[str]]:
    where = CLASSIFICATION
    check_fields(content, where, {"tags", "columns"}, {"version", "description"}, set())
    known = value_of(content, "tags", dict, where)
    found: dict[tuple[str, ...], frozenset[str]] = {}
    for table, columns in value_of(content, "columns", dict, where).items():
        for column in value_of(content["columns"], table, dict, where):
            place = f"{table}.{column}"
            tags = frozenset(texts_of(columns, column, f"{where}: {table}"))
            name = tuple(place.lower().split("."))
            if len(name) != len(LEVELS) or name in found:
                raise PolicyError(f"{where}: {place}: write database.schema.table.column, once")
            if tags - set(known):
                raise PolicyError(f"{where}: {place}: no such tag: {sorted(tags - set(known))}")
            found[name] = tags
    return found


def _check_accesses(accesses: Sequence[dict[str, Any]], where: str) -> None:
    for access in accesses:
        check_fields(access, where, {"type", "isAllowed"}, set(), set())
    if not any(a.get("type") == "select" and a.get("isAllowed") is True for a in accesses):
        raise PolicyError(f"{where}: an item without an allowed select never applies; add one")
