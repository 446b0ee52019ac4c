"""Principals as Ranger knows them: a user and the groups that the user belongs to.

The principal of a target is the group with the name of its database, that of a caller of the API
the group in its settings, and that of a person at the command line a user of `users.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PolicyError
from .policy_json import check_fields, parse_object, texts_of, value_of

USERS = "users.json"
PUBLIC_GROUP = "public"  # in Ranger, the group of all users

# Ranger's user store, as its plugins download it; attributes affect no decision here.
_NOTES = {
    "serviceName", "userStoreVersion", "userStoreUpdateTime", "userAttrMapping",
    "groupAttrMapping", "userCloudIdMapping", "groupCloudIdMapping",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Principal:
    """The user and groups for which a value is masked."""

    user: str | None = None
    groups: frozenset[str] = frozenset()

    def __str__(self) -> str:
        named = f"user {self.user!r}" if self.user else ""
        groups = " and ".join(f"group {name!r}" for name in sorted(self.groups))
        return " of ".join(part for part in (named, groups) if part) or "every principal"


def group_principal(group: str) -> Principal:
    """Return the principal for the group of a target or of a client of the API."""
    return Principal(groups=frozenset({group}))


def read_people(content: bytes | None) -> dict[str, frozenset[str]]:
    """Return the groups of each user in a `users.json`; none without the file."""
    if content is None:
        return {}
    found = parse_object(content, USERS)
    check_fields(found, USERS, {"userGroupMapping"}, _NOTES, set())
    mapping: dict[str, Any] = value_of(found, "userGroupMapping", dict, USERS)
    people = {}
    for user, groups in mapping.items():
        if not user or "{" in user:
            raise PolicyError(f"{USERS}: {user!r} must be a user's name")
        people[user] = frozenset(texts_of(mapping, user, USERS)) if groups else frozenset[str]()
    return people


def read_users_file(directory: Path) -> bytes | None:
    """The bytes of the directory's `users.json`, None if there is none."""
    try:
        return (directory / USERS).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise PolicyError(f"cannot read {directory / USERS}: {fault.strerror}") from fault


def user_principal(people: Mapping[str, frozenset[str]], user: str) -> Principal:
    """Return the principal for a user; one that `users.json` does not list has no group."""
    return Principal(user, people.get(user, frozenset()))
