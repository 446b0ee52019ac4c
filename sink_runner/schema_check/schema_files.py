"""Record the schemas of the mappings' sources in files, so that a check needs no running stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..avro.schema_cache import SchemaCache
from ..config import Config
from ..config.database import find_database
from ..errors import ConfigError, DecodeError
from ..plugin import Table
from .catalog_schema import key_schema, read_current_shape, value_schema
from .shape import RowShape, as_text, key_of, row_of

T = TypeVar("T")


def of_registry(registry: SchemaCache, table: Table) -> dict[str, Any]:
    """Return the latest schemas of a table's topic, by subject; none if no row was captured yet."""
    subjects = (f"{table.topic}-value", f"{table.topic}-key")
    found = {subject: registry.latest(subject) for subject in subjects}
    return {subject: latest[1] for subject, latest in found.items() if latest is not None}


def of_catalog(config: Config, table: Table) -> dict[str, Any]:
    """Return the same from the database's catalog: the row without envelope, with lengths."""
    shape = read_current_shape(find_database(config.databases, table.database).reader_dsn, table)
    schemas = {f"{table.topic}-value": value_schema(table, shape, with_source_types=True)}
    key = key_schema(table, shape)
    return schemas if key is None else schemas | {f"{table.topic}-key": key}


def write(folder: Path, schemas: dict[str, Any]) -> list[Path]:
    """Write a file for each subject; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for subject, schema in schemas.items():
        path = folder / f"{subject}.avsc"
        path.write_text(as_text(schema), encoding="utf-8")
        written.append(path)
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A folder with a registry's schemas: ``<topic>-value.avsc`` and ``<topic>-key.avsc``."""

    folder: Path

    def __post_init__(self) -> None:
        """Refuse a missing folder: no schema of it would be checked."""
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is not a folder")

    def row(self, table: Table) -> RowShape | None:
        """Return the recorded row; None if there is none."""
        value, key = self.path(table), self.folder / f"{table}-key.avsc"
        if not value.exists():
            return None
        row = _shape(value, row_of)
        if row is None:
            raise ConfigError(f"{value} is not a schema of a table's rows")
        return replace(row, key=_shape(key, _key) if key.exists() else None)

    def path(self, table: Table) -> Path:
        return self.folder / f"{table}-value.avsc"


def _shape(path: Path, read: Callable[[Any], T]) -> T:
    """Read a file, which may contain anything."""
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        raise ConfigError(f"{path} is not a schema: {type(fault).__name__}") from fault
    except DecodeError as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def _key(schema: Any) -> tuple[str, ...] | None:
    if schema is None:
        raise TypeError  # the file contains null
    return key_of(schema)
