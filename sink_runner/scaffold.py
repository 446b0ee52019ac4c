"""Write a new plugin distribution that can be installed, loaded and tested unchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from .errors import SinkError
from .loading.discovery import RESERVED
from .plugin import Table

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def scaffold(
    root: Path, name: str, *, source: str, target: str, key: Sequence[str], version: str
) -> Path:
    """Create the folder ``root/name`` and return its path.

    Raises ValueError for a name that cannot be used, and SinkError if the folder exists.
    """
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(f"{name!r} is not a plugin name: write kebab-case, as in golden-records")
    _check_tables(source, target)
    _check_columns(key, version)
    folder = root / name
    if folder.exists():
        raise SinkError(f"{folder} exists: choose another name or --root, or remove it")
    module = "sink_" + name.replace("-", "_")
    values = {
        "name": name,
        "module": module,
        "source": source,
        "target": target,
        "key": _tuple(key),
        "version": version,
        "columns": "\n".join(
            f'            Column("{column}", required=True),' for column in (*key, version)
        ),
        "declared": _quoted((*key, version)),
    }
    for template, path in (
        ("pyproject.toml.tmpl", "pyproject.toml"),
        ("README.md.tmpl", "README.md"),
        ("plugin.py.tmpl", f"src/{module}/__init__.py"),
        ("test_plugin.py.tmpl", f"tests/test_{module}.py"),
    ):
        text = files(__package__).joinpath("templates", template).read_text()
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(values))
    (folder / "src" / module / "py.typed").touch()
    return folder


def _tuple(columns: Sequence[str]) -> str:
    return f"({_quoted(columns)},)" if len(columns) == 1 else f"({_quoted(columns)})"


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _check_tables(source: str, target: str) -> None:
    for text in (source, target):
        parts = Table.parse(text)
        for part in (parts.database, parts.schema, parts.name):
            if not _IDENTIFIER.fullmatch(part):
                raise ValueError(f"{part!r} in {text!r} is not a plain SQL name")
    if source == target:
        raise ValueError(f"source and target are the same table, {source}")


def _check_columns(key: Sequence[str], version: str) -> None:
    if not key or len(set(key)) < len(key):
        raise ValueError("the key must name at least one column, and none twice")
    if version in key:
        raise ValueError(f"version {version!r} is part of the key: name a column that changes")
    for column in (*key, version):
        if not _IDENTIFIER.fullmatch(column):
            raise ValueError(f"column {column!r} is not a plain SQL name")
