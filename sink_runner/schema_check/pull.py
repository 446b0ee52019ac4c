"""Record the schemas of the mappings' sources, so that a check needs no running stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from ..avro.schema_registry import SchemaRegistry
from ..config import Config
from ..config.database import find_database
from ..plugin import Table
from ..postgres.error_classes import classify_error
from ..postgres.session import connect
from .derive import key_schema, read_shape, value_schema
from .shape import as_text


def of_registry(registry: SchemaRegistry, table: Table) -> dict[str, Any]:
    """The latest schemas of a table's topic, by subject; none if no row was captured yet."""
    subjects = (f"{table.topic}-value", f"{table.topic}-key")
    found = {subject: registry.latest(subject) for subject in subjects}
    return {subject: latest[1] for subject, latest in found.items() if latest is not None}


def of_catalog(config: Config, table: Table) -> dict[str, Any]:
    """The same, made of the database's catalog: the row alone, with the types' lengths."""
    dsn = find_database(config.databases, table.database).reader_dsn
    try:
        with connect(dsn, "sink-runner schema") as session:
            shape = read_shape(session, table)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    schemas = {f"{table.topic}-value": value_schema(table, shape, told=True)}
    key = key_schema(table, shape)
    return schemas if key is None else schemas | {f"{table.topic}-key": key}


def write(folder: Path, schemas: dict[str, Any]) -> list[Path]:
    """One file for each subject."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for subject, schema in schemas.items():
        path = folder / f"{subject}.avsc"
        path.write_text(as_text(schema), encoding="utf-8")
        written.append(path)
    return written
