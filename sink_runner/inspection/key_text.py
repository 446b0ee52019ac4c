"""Find the dead letters of a row by its key, as a person writes it.

Only fingerprints of keys are stored, so the key is encoded as in the record of Kafka.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, Protocol

import fastavro

from ..avro.names import restore_name
from ..avro.schema import parse
from ..errors import ConfigError
from ..writer.encryption import Encryptor


class Subjects(Protocol):
    """Returns the schemas of keys."""

    def latest(self, subject: str) -> tuple[int, Any] | None:
        """Return the id and the schema that were registered last."""


def fingerprints(
    text: str, topics: Iterable[str], schemas: Subjects, encryptor: Encryptor
) -> list[bytes]:
    """Return the fingerprints of the key: as a key of each topic that it fits, and as text.

    `text` is a JSON object of the key's columns, or the value of its only column.  The key of a row
    of a batch run is text: its columns, separated by tabs.
    """
    found = {text.encode(), *_parts(text)}
    for topic in topics:
        known = schemas.latest(f"{topic}-key")
        if known is not None and (record := encoded(text, *known)) is not None:
            found.add(record)
    return [mark for key in sorted(found) if (mark := encryptor.fingerprint(key)) is not None]


def encoded(text: str, schema_id: int, schema: Any) -> bytes | None:
    """Return the key as Debezium encodes it; None if it is not a key of this schema."""
    columns = [restore_name(field["name"]) for field in schema.get("fields", ())]
    given = _by_column(text, columns)
    if given is None:
        return None
    types = [field["type"] for field in schema["fields"]]
    row = {name: _fitting(given[name], type_) for name, type_ in zip(columns, types, strict=True)}
    body = BytesIO()
    try:
        fastavro.schemaless_writer(body, parse(schema)[0], row)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return None
    return b"\0" + schema_id.to_bytes(4) + body.getvalue()


def key_values(text: str, columns: Sequence[str]) -> list[str]:
    """Return the texts of a key's columns.  Raises ConfigError for a key of other columns."""
    given = _by_column(text, columns)
    if given is None:
        raise ConfigError(
            f"the key is not of the columns {', '.join(columns)}: give the value of the only "
            "column, or a JSON object of all"
        )
    return [str(given[name]) for name in columns]


def _by_column(text: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of a key by column; None if it has other columns."""
    given = _given(text)
    if not isinstance(given, dict):
        given = {columns[0]: text} if len(columns) == 1 else {}
    return given if set(given) == set(columns) else None


def _given(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parts(text: str) -> Iterable[bytes]:
    """Return the columns of the key of a row of a batch run, which is not JSON."""
    given = _given(text)
    if isinstance(given, dict):
        yield "\t".join(str(given[name]) for name in sorted(given)).encode()


def _fitting(value: Any, type_: Any) -> Any:
    """Return a value in the type of its column; the encoder refuses a value that does not fit."""
    if isinstance(type_, dict):
        type_ = type_.get("type")
    try:
        return int(value) if type_ in ("int", "long") else str(value)
    except (TypeError, ValueError):
        return value
