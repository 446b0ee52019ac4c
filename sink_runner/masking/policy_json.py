"""Strict access to parsed JSON: a missing, unknown or mistyped field is a PolicyError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import PolicyError


def check_fields(
    content: Any, where: str, used: set[str], notes: set[str], empty: set[str]
) -> None:
    """Refuse unknown fields, and values in those that must be `empty`."""
    if not isinstance(content, dict):
        raise PolicyError(f"{where}: an object is expected")
    unknown = set(content) - used - notes - empty
    if unknown:
        raise PolicyError(f"{where}: unknown fields {', '.join(sorted(unknown))}; remove them")
    filled = {name for name in empty if content.get(name)}
    if filled:
        raise PolicyError(
            f"{where}: {', '.join(sorted(filled))} would change a decision and is not supported; "
            "remove it or disable the policy"
        )


def check_one_of(
    content: dict[str, Any], name: str, allowed: set[Any], where: str, default: Any = None
) -> None:
    """Refuse a field whose value is not `allowed`."""
    found = content.get(name, default)
    # In JSON true differs from 1, in Python it does not.
    if not any(type(found) is type(value) and found == value for value in allowed):
        raise PolicyError(f"{where}: {name} must be one of {sorted(allowed)}")


def objects_of(content: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """Return the list of objects under `name`, which must not be empty."""
    found: list[dict[str, Any]] = value_of(content, name, list, where)
    if not found or not all(isinstance(value, dict) for value in found):
        raise PolicyError(f"{where}: {name} must be a list of objects, with at least one")
    return found


def texts_of(content: dict[str, Any], name: str, where: str) -> list[str]:
    """Return the list of texts under `name`: not empty, and without macros of Ranger."""
    found: list[str] = value_of(content, name, list, where)
    if not found or not all(isinstance(value, str) and value for value in found):
        raise PolicyError(f"{where}: {name} must be a list of texts, with at least one")
    if any("{" in value for value in found):
        raise PolicyError(f"{where}: {name}: macros such as {{USER}} are not supported; name them")
    return found


def value_of(content: dict[str, Any], name: str, kind: type, where: str) -> Any:
    """Return the value under `name`, of exactly this type."""
    found = content.get(name)
    if type(found) is not kind or (kind is str and not found):
        raise PolicyError(f"{where}: {name} must be given, as {kind.__name__}")
    return found


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; PolicyError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise PolicyError(
            f"cannot read {path}: {exc.strerror}; without policies nothing may be written"
        ) from exc


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """Return the object in a file; a repeated name is a PolicyError."""
    try:
        found = json.loads(content, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as exc:
        raise PolicyError(f"{name} is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise PolicyError(f"{name}: an object is expected")
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is used twice in one object")
    return found
