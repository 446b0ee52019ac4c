"""A decoded change event: its rows, its position and the types of its columns.

The decoder returns values as they are encoded (`str`, `int`, `float`, `bool`, `bytes`, `list`,
None); `conversion` converts them to PostgreSQL's text or to Python's types.
"""

from __future__ import annotations

import enum
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Any, NamedTuple
from uuid import UUID

from ..plugin import ABSENT


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
    """"false" or None for a change; else Debezium's marker of a snapshot row, such as "last"."""
    tx_id: int | None = None
    sequence: str | None = None
    """JSON text of the last commit's and this change's log positions."""
    order: int = 0
    """The change's number within its transaction; 0 where the event does not have it."""
    partial: bool = False
    """Whether a column of `after` is ABSENT because the update left it as it was."""


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
    """DECIMAL and BASE64 are strings in the schema; the column's type in the database distinguishes
    them."""
    BITS = "bits"
    """A bit string as bytes, the last bit of the string first."""
    ARRAY = "array"
    MAP = "map"
    OPAQUE = "opaque"
    """An encoding that Debezium writes only with settings that the runner does not support."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type as the writer's schema has it."""

    kind: Kind
    nullable: bool = False
    note: str = ""
    """The semantic type, `connect.name`; "" if there is none."""
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
        """Return the wanted columns that the writer does not have."""
        return tuple(name for name in wanted if name not in self.columns)


# -- unchanged TOAST -----------------------------------------------------------------------

DEFAULT_PLACEHOLDER = "__debezium_unavailable_value"
"""Debezium's default for `unavailable.value.placeholder`."""
PLACEHOLDER = "unavailable.value.placeholder"
"""The parameter of an envelope's schema that holds the setting; DropDefaults.java writes it."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """What stands for an unchanged TOASTed value in the rows of one writer's schema."""

    forms: tuple[Any, ...]
    """The decoded values of the placeholder, one for each type of column."""
    marks: tuple[bytes, ...]
    """A message that has the placeholder outside an array contains one of these bytes."""

    @classmethod
    def of_debezium(cls, setting: str) -> Placeholder:
        """Return every form in which Debezium writes its placeholder."""
        raw = _placeholder_bytes(setting)
        text, coded = raw.decode(errors="replace"), b64encode(raw)
        # Debezium derives it so, with Java's UUID.nameUUIDFromBytes, for arrays of uuid.
        made = str(UUID(bytes=md5(raw, usedforsecurity=False).digest(), version=3))
        signed = list(memoryview(raw).cast("b"))
        forms = (text, coded.decode(), raw, [text], [raw], signed, [made], {text: text})
        return cls(forms, (text.encode(), coded))

    @classmethod
    def of_text(cls, setting: str) -> Placeholder:
        """Return the one form that PostgresText.java writes for columns of any type."""
        text = _placeholder_bytes(setting).decode(errors="replace")
        return cls((text,), (text.encode(),))

    def without(
        self, row: tuple[Any, ...] | None, may_lack: tuple[bool, ...]
    ) -> tuple[Any, ...] | None:
        """Put ABSENT where an update's row has the placeholder; the same row where it has none.

        Only an update omits values, and only of columns that can be TOASTed (`may_lack`).  In any
        other place the same text is data.
        """
        forms = self.forms
        if row is None or not any(
            may and value in forms for value, may in zip(row, may_lack, strict=True)
        ):
            return row
        return tuple(
            ABSENT if may and value in forms else value
            for value, may in zip(row, may_lack, strict=True)
        )


def _placeholder_bytes(setting: str) -> bytes:
    """Return the placeholder of a setting.  Raises ValueError for wrong digits after `hex:`."""
    if not setting.startswith("hex:"):
        return setting.encode()
    try:
        return bytes.fromhex(setting.removeprefix("hex:"))
    except ValueError:
        raise ValueError(f"{PLACEHOLDER}: expected hexadecimal digits after 'hex:'") from None
