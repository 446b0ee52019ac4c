"""The reference of the settings: every key with its type, default and description."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from .reader import is_required, is_secret, join, without_none


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting of a section or of a section inside it."""

    path: str
    """``<name>`` stands for a name that the file chooses."""
    kind: Any
    doc: str
    required: bool
    default: Any
    secret: bool


def keys(cls: type[Any], where: str = "") -> list[Key]:
    """Return every key of `cls`, in the order of the fields, those of inner tables in place."""
    found: list[Key] = []
    hints = typing.get_type_hints(cls, include_extras=True)
    docs = _descriptions(cls)
    for key in dataclasses.fields(cls):
        path, kind = join(where, key.name), without_none(hints[key.name])
        named = get_args(kind)[-1] if typing.get_origin(kind) in (dict, Mapping) else None
        if dataclasses.is_dataclass(named):
            found += keys(typing.cast("type[Any]", named), f"{path}.<name>")
        elif dataclasses.is_dataclass(kind):
            found += keys(typing.cast("type[Any]", kind), path)
        elif key.init:
            default = key.default if key.default_factory is MISSING else key.default_factory()
            found.append(
                Key(
                    path=path,
                    kind=hints[key.name],
                    doc=docs.get(key.name) or key.metadata.get("doc", ""),
                    required=is_required(key),
                    default=None if default is MISSING else default,
                    secret=is_secret(kind) or not key.repr,
                )
            )
    return found


def _descriptions(cls: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _docstrings(base.__module__).get(base.__qualname__, {})
    return found


@cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Parse the docstring below each field of the module's classes; Python discards them."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):  # built in, or without source
        return {}
    return {
        node.name: {
            key.target.id: " ".join(text.value.value.split())
            for key, text in pairwise(node.body)
            if isinstance(key, ast.AnnAssign)
            and isinstance(key.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
