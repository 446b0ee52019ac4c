"""What passes between the folder of policies and Ranger Admin, and how both are compared."""

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

from ..errors import PolicyError
from .policy import Policies, load_policies
from .policy_file import POLICIES
from .policy_json import parse_object, read_file
from .policy_watch import FILES

Content = dict[str, Any]

# What Ranger Admin sets automatically, and what it fills in as a default.
_OWNED = {
    "id", "guid", "version", "createTime", "updateTime", "createdBy", "updatedBy",
    "resourceSignature", "service", "serviceType",
}  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {"isEnabled": True, "isAuditEnabled": True, "policyPriority": 0}
_FALSE = {"isExcludes", "isRecursive", "isDenyAllElse", "delegateAdmin"}
_MASK_POLICY = 1


class Action(StrEnum):
    """What a push would do with one policy."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One policy that differs."""

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
        """Our policy with the identity that Ranger gave it."""
        assert self.ours is not None
        if self.theirs is None:
            return {key: value for key, value in self.ours.items() if key not in ("id", "version")}
        given: Content = {
            key: self.theirs[key] for key in ("id", "guid", "version") if key in self.theirs
        }
        return {**self.ours, **given}


def plan(ours: Iterable[Content], theirs: Iterable[Content]) -> list[Step]:
    """What makes Ranger's masking policies ours; policies are recognised by their names.

    Policies of access are Ranger's own affair, unless we have one of that name.
    """
    local = {policy["name"]: policy for policy in ours}
    remote = {policy["name"]: policy for policy in theirs}
    steps = []
    for name in sorted(local.keys() | remote.keys()):
        mine, other = local.get(name), remote.get(name)
        if mine is None and (other or {}).get("policyType") != _MASK_POLICY:
            continue
        if mine is not None and other is not None and meant(mine) == meant(other):
            continue
        action = Action.UPDATE if mine and other else Action.CREATE if mine else Action.DELETE
        steps.append(Step(action=action, name=name, ours=mine, theirs=other))
    return steps


def meant(content: Any, *, top: bool = True) -> Any:
    """What a policy says: without what Ranger owns, and what is as it would be unsaid."""
    if isinstance(content, dict):
        kept = {
            key: meant(value, top=False)
            for key, value in content.items()
            if not (top and (key in _OWNED or _DEFAULTS.get(key, ...) == value))
        }
        return {key: value for key, value in kept.items() if _is_said(key, value)}
    if isinstance(content, list):
        return [meant(value, top=False) for value in content]
    return content


def _is_said(key: str, value: Any) -> bool:
    if value is False:
        return key not in _FALSE
    return value is not None and value not in ("", [], {})


def difference(old: Any, new: Any, name: str) -> list[str]:
    """A unified diff of two policies, or of two lists of them; nothing if they say the same."""
    before, after = (_lines(content) for content in (old, new))
    found = difflib.unified_diff(before, after, f"{name} (before)", f"{name} (after)", lineterm="")
    return list(found)


def _lines(content: Any) -> list[str]:
    if content is None:
        return []
    return json.dumps(meant(content), indent=2, ensure_ascii=False, sort_keys=True).splitlines()


def local_policies(directory: Path) -> Content:
    """The folder's policies as the JSON that they are."""
    return parse_object(read_file(directory / POLICIES), POLICIES)


def changes(old: Content, new: Content) -> Iterator[str]:
    """How two sets of policies differ, policy by policy; the old may be no good."""
    before, after = _by_name(old), _by_name(new)
    for name in sorted(before.keys() | after.keys()):
        yield from difference(before.get(name), after.get(name), name)


def _by_name(content: Content) -> dict[str, Content]:
    found = content.get("policies")
    named = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {str(one.get("name")): one for one in named}


def tried(directory: Path, content: Content, key: str = "") -> Policies:
    """Load the folder as it would be with other policies; PolicyError if it would be refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in FILES:
            if file != POLICIES and (directory / file).exists():
                shutil.copyfile(directory / file, folder / file)
        (folder / POLICIES).write_bytes(spelled(content))
        return load_policies(folder, key)


def put(directory: Path, content: Content) -> None:
    """Replace the folder's policies in one step: a reader finds the old ones or the new."""
    target = directory / POLICIES
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".policies-", delete=False) as file:
            file.write(spelled(content))
            file.flush()
            os.fsync(file.fileno())
        fresh = Path(file.name)
        fresh.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        fresh.replace(target)
    except OSError as fault:
        raise PolicyError(f"cannot write {target}: {fault.strerror}") from fault


def spelled(content: Content) -> bytes:
    """JSON as a person reads it; nothing is left out and the order stays."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
