"""What a change event says: its row, its position and the kinds of its columns.

The decoder hands out values as they are written (`str`, `int`, `float`, `bool`, `bytes`, `list`,
None); `conversion` makes PostgreSQL's text or Python's types of them.
"""

from __future__ import annotations

import enum
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Any, NamedTuple

from ..plugin import ABSENT

UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium writes for a TOASTed column that the change left alone."""


class Decoded(NamedTuple):
    """One change event.

    `after` and `before` hold the wanted columns in the wanted order, or are None where the event
    has no such row.  A column that the event does not carry (unchanged TOAST, or not in the
    writer's schema) is ABSENT.
    """

    op: str
    after: tuple[Any, ...] | None
    before: tuple[Any, ...] | None
    lsn: int | None
    ts_ms: int | None
    """When the source committed, in milliseconds since 1970."""
    origin: str | None
    """The replication origin of the session that wrote; None for an ordinary client."""
    snapshot: str | None
    """"false" or None for a change; else what part of a snapshot it is."""
    tx_id: int | None = None
    sequence: str | None = None
    """JSON text of the last commit's and this change's log positions."""
    order: int = 0
    """The change's number within its transaction; 0 where the event does not tell it."""


class Kind(enum.StrEnum):
    """What a column's values mean."""

    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    BYTES = "bytes"
    ENUM = "enum"
    UUID = "uuid"
    JSON = "json"
    XML = "xml"
    DATE = "date"
    TIME = "time"
    TIME_TZ = "timetz"
    TIMESTAMP = "timestamp"
    TIMESTAMP_TZ = "timestamptz"
    INTERVAL = "interval"
    DECIMAL = "decimal"
    BASE64 = "base64"
    """These two no schema tells from a string; they follow from the database's type."""
    BITS = "bits"
    """A bit string as bytes, the last bit of the string first."""
    ARRAY = "array"
    MAP = "map"
    OPAQUE = "opaque"
    """A form that Debezium writes only with other settings than the module's."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type as the writer's schema has it."""

    kind: Kind
    nullable: bool = False
    note: str = ""
    """Connect's name for the meaning, "" where it has none."""
    item: ColumnType | None = None
    """What an array holds."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of a writer's row, in order."""

    columns: Mapping[str, ColumnType]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def missing(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Wanted columns that the writer does not have."""
        return tuple(name for name in wanted if name not in self.columns)

    def unwanted(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The writer's columns that nobody wants."""
        return tuple(name for name in self.columns if name not in set(wanted))


# -- unchanged TOAST -----------------------------------------------------------------------

_UNAVAILABLE_BYTES = UNAVAILABLE.encode()
# Debezium derives it so, with Java's UUID.nameUUIDFromBytes, for arrays of uuid.
_UNAVAILABLE_UUID = str(
    uuid.UUID(bytes=md5(_UNAVAILABLE_BYTES, usedforsecurity=False).digest(), version=3)
)
UNAVAILABLE_MARKS = (_UNAVAILABLE_BYTES, b64encode(_UNAVAILABLE_BYTES))
"""The bytes of a message in which some column is unavailable, unless that column is an array."""
_UNAVAILABLE_FORMS = (
    UNAVAILABLE,
    UNAVAILABLE_MARKS[1].decode(),
    _UNAVAILABLE_BYTES,
    [UNAVAILABLE],
    [_UNAVAILABLE_BYTES],
    list(_UNAVAILABLE_BYTES),
    [_UNAVAILABLE_UUID],
    {UNAVAILABLE: UNAVAILABLE},
)


def is_unavailable(value: Any) -> bool:
    """Tell whether a value stands for an unchanged TOASTed one, in any of its forms."""
    return value in _UNAVAILABLE_FORMS


def without_unavailable(
    row: tuple[Any, ...] | None, may_lack: tuple[bool, ...]
) -> tuple[Any, ...] | None:
    """Put ABSENT where an update's row has Debezium's placeholder.

    Only an update leaves a value out, and only of a column that can be TOASTed (`may_lack`):
    everywhere else the placeholder's text is what a person typed.
    """
    if row is None or not any(map(is_unavailable, row)):
        return row
    return tuple(
        ABSENT if may and is_unavailable(value) else value
        for value, may in zip(row, may_lack, strict=True)
    )
