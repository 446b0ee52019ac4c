"""Compare the folder's policies with those of Ranger Admin, and replace either by the other."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ...errors import PolicyError
from ..policy import Policies, load_policies
from ..policy_file import POLICIES
from ..policy_json import parse_object, read_file
from ..policy_watch import FILES
from .admin import Content

# Fields that Ranger Admin sets, and its defaults.
_SET_BY_RANGER = {
    "id", "guid", "version", "createTime", "updateTime", "createdBy", "updatedBy",
    "resourceSignature", "service", "serviceType",
}  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {"isEnabled": True, "isAuditEnabled": True, "policyPriority": 0}
_FALSE_BY_DEFAULT = {"isExcludes", "isRecursive", "isDenyAllElse", "delegateAdmin"}
_MASK_POLICY = 1


class Action(StrEnum):
    """How a push changes one policy of Ranger."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One policy that differs, and what a push does with it."""

    action: Action
    name: str
    ours: Content | None
    theirs: Content | None

    @property
    def diff(self) -> list[str]:
        return difference(self.theirs, self.ours, self.name)

    @property
    def number(self) -> int:
        """Ranger's id of the policy."""
        assert self.theirs is not None
        return int(self.theirs["id"])

    @property
    def sent(self) -> Content:
        """Our policy with the identity that it has in Ranger."""
        assert self.ours is not None
        if self.theirs is None:
            return {key: value for key, value in self.ours.items() if key not in ("id", "version")}
        identity = {
            key: self.theirs[key] for key in ("id", "guid", "version") if key in self.theirs
        }
        return self.ours | identity


def plan(ours: Iterable[Content], theirs: Iterable[Content]) -> list[Step]:
    """Return the steps that make Ranger's masking policies equal to ours, by their names.

    Access policies of Ranger stay as they are, unless one of ours has the same name.
    """
    local = {policy["name"]: policy for policy in ours}
    remote = {policy["name"]: policy for policy in theirs}
    steps = []
    for name in sorted(local.keys() | remote.keys()):
        mine, other = local.get(name), remote.get(name)
        if mine is None and (other or {}).get("policyType") != _MASK_POLICY:
            continue
        if mine is not None and other is not None and normalized(mine) == normalized(other):
            continue
        action = Action.UPDATE if mine and other else Action.CREATE if mine else Action.DELETE
        steps.append(Step(action=action, name=name, ours=mine, theirs=other))
    return steps


def normalized(content: Any, *, top: bool = True) -> Any:
    """Return a policy without the fields that Ranger sets and those that have their default."""
    if isinstance(content, dict):
        kept = {
            key: normalized(value, top=False)
            for key, value in content.items()
            if not (top and (key in _SET_BY_RANGER or _DEFAULTS.get(key, ...) == value))
        }
        return {key: value for key, value in kept.items() if not _is_default(key, value)}
    if isinstance(content, list):
        return [normalized(value, top=False) for value in content]
    return content


def _is_default(key: str, value: Any) -> bool:
    if value is False:
        return key in _FALSE_BY_DEFAULT
    return value is None or value in ("", [], {})


def difference(old: Any, new: Any, name: str) -> list[str]:
    """Return a unified diff of two policies, or of two lists of them; [] if they mean the same."""
    before, after = (_lines(content) for content in (old, new))
    found = difflib.unified_diff(before, after, f"{name} (before)", f"{name} (after)", lineterm="")
    return list(found)


def _lines(content: Any) -> list[str]:
    if content is None:
        return []
    return json.dumps(
        normalized(content), indent=2, ensure_ascii=False, sort_keys=True
    ).splitlines()


def local_policies(directory: Path) -> Content:
    """Return the content of the folder's `policies.json`."""
    return parse_object(read_file(directory / POLICIES), POLICIES)


def describe_changes(old: Content, new: Content) -> Iterator[str]:
    """Yield the lines in which two sets of policies differ; the old one may be malformed."""
    before, after = _by_name(old), _by_name(new)
    for name in sorted(before.keys() | after.keys()):
        yield from difference(before.get(name), after.get(name), name)


def _by_name(content: Content) -> dict[str, Content]:
    found = content.get("policies")
    named = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {str(one.get("name")): one for one in named}


def load_with(directory: Path, content: Content, key: str = "") -> Policies:
    """Return the folder's policies as they would be with this content.

    Raises PolicyError if the folder could not be used with it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in FILES:
            if file != POLICIES and (directory / file).exists():
                shutil.copyfile(directory / file, folder / file)
        (folder / POLICIES).write_bytes(to_json(content))
        return load_policies(folder, key)


def replace_policies(directory: Path, content: Content) -> None:
    """Replace the folder's `policies.json` atomically."""
    target = directory / POLICIES
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".policies-", delete=False) as file:
            file.write(to_json(content))
            file.flush()
            os.fsync(file.fileno())
        fresh = Path(file.name)
        fresh.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        fresh.replace(target)
    except OSError as fault:
        raise PolicyError(f"cannot write {target}: {fault.strerror}") from fault


def to_json(content: Content) -> bytes:
    """Return indented JSON with every field, in its order."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
