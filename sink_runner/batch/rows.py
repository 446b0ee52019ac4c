"""Read rows of a batch run from COPY, as messages and as events.

A row is a line of COPY's text format.  Its values are converted to what Debezium sends for the same
row, so that all later steps are the same for both.  A message contains a short head and the line,
so that its dead letter can be decoded again.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import DecodeError
from ..model.changes import BATCH_ORDINAL
from ..model.envelope import Decoded, Kind
from ..model.message import ROWS, Message
from ..postgres.catalog import quoted
from ..postgres.types import PgType
from ..transform.row_plan import SourceColumn

MAGIC = 1
"""The first byte of a batch row's value; a record of Kafka begins with 0."""

_HEAD = struct.Struct(">BIQq")  # magic, columns, position, milliseconds since 1970
_NULL = "\\N"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_FAR_YEAR = re.compile(r"(\d{4,}-\d\d-\d\d)(?: ([\d:.]+)(?:\+00)?)?( BC)?")

Convert = Callable[[str], Any]


class _TypeFormat(NamedTuple):
    """How values of a type are selected, and read from COPY's text."""

    kind: Kind
    read: Convert | None
    sql: str = "{}"


def _unescape(text: str) -> str:
    """Undo COPY's escapes."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def _read_boolean(text: str) -> bool:
    return text == "t"


def _read_date(text: str) -> str:
    return text + "Z" if text[4:5] == "-" and len(text) == len("2024-02-29") else _read_far(text)


def _read_timestamp(text: str) -> str:
    return text if text[4:5] == "-" and text[-1] != "C" else _read_far(text)


def _read_far(text: str) -> str:
    """Format a date or time outside the years 1 to 9999 as Debezium does; keep infinities."""
    found = _FAR_YEAR.fullmatch(text)
    if found is None:
        return text
    day, clock, before = found.groups()
    year, rest = day.split("-", 1)
    if before:
        year = f"{1 - int(year):05}" if int(year) > 1 else "0000"
    return f"{year}-{rest}" + (f"T{clock}Z" if clock else "Z")


_TEXT = _TypeFormat(Kind.STRING, _unescape)
_FORMATS: Mapping[str, _TypeFormat] = {
    "int2": _TypeFormat(Kind.INT, int),
    "int4": _TypeFormat(Kind.INT, int),
    "int8": _TypeFormat(Kind.LONG, int),
    "oid": _TypeFormat(Kind.LONG, int),
    "float4": _TypeFormat(Kind.FLOAT, float, "{}::float8"),
    "float8": _TypeFormat(Kind.DOUBLE, float),
    "bool": _TypeFormat(Kind.BOOLEAN, _read_boolean),
    "numeric": _TypeFormat(Kind.STRING, None),
    "money": _TypeFormat(Kind.STRING, None, "{}::numeric"),
    "uuid": _TypeFormat(Kind.UUID, None),
    "date": _TypeFormat(Kind.DATE, _read_date),
    "timestamp": _TypeFormat(Kind.TIMESTAMP, _read_timestamp),
    "timestamptz": _TypeFormat(Kind.TIMESTAMP_TZ, _read_timestamp),
    "time": _TypeFormat(Kind.TIME, None),
    "timetz": _TypeFormat(Kind.TIME_TZ, None),
    "interval": _TypeFormat(Kind.INTERVAL, None),
    "json": _TypeFormat(Kind.JSON, _unescape),
    "jsonb": _TypeFormat(Kind.JSON, _unescape),
    "xml": _TypeFormat(Kind.XML, _unescape),
    "bytea": _TypeFormat(Kind.STRING, None, "translate(encode({}, 'base64'), E'\\n', '')"),
}
"""By the name of the base type in pg_catalog.  Every other type is read as PostgreSQL's text:
arrays with their lower bounds, enums, ranges, composites, and the types of extensions."""
_ONE_BIT = _TypeFormat(Kind.BOOLEAN, "1".__eq__)
"""A bit(1), which Debezium writes as a boolean."""


def _format(pg: PgType) -> _TypeFormat:
    if pg.is_builtin("bit") and pg.length == 1:
        return _ONE_BIT
    return _FORMATS.get(pg.name, _TEXT) if pg.schema == "pg_catalog" else _TEXT


@dataclass(frozen=True)
class RowFormat:
    """The columns that are read of one table or query, and the key that orders its rows."""

    source: str
    """``database.schema.table``, which is the topic of the rows' messages."""
    types: Mapping[str, PgType]
    """The columns' types, in the order in which they are read."""
    key: Sequence[str] = ()
    """The columns of the primary key; empty for a query."""

    @cached_property
    def columns(self) -> list[SourceColumn]:
        return [
            SourceColumn(name, _format(pg).kind, pg.declared, pg) for name, pg in self.types.items()
        ]

    @cached_property
    def select(self) -> str:
        """The list of expressions to select from a row named ``r``."""
        values = [_format(pg).sql.format(f"r.{quoted(name)}") for name, pg in self.types.items()]
        return ", ".join([*values, *(f"r.{quoted(name)}" for name in self.key)])

    @cached_property
    def number(self) -> int:
        """A checksum of the columns and their types."""
        types = [(name, f"{pg.schema}.{pg.name}") for name, pg in self.types.items()]
        return zlib.crc32(json.dumps([self.source, *types]).encode())

    @cached_property
    def _read(self) -> list[Convert | None]:
        return [_format(pg).read for pg in self.types.values()]

    def head(self, position: int, at: datetime) -> bytes:
        """Return the head of a run's messages; `at` is naive, UTC."""
        milliseconds = round((at - datetime(1970, 1, 1)).total_seconds() * 1000)  # noqa: DTZ001 - naive UTC
        return _HEAD.pack(MAGIC, self.number, position, milliseconds)

    @property
    def head_size(self) -> int:
        return _HEAD.size

    def message(self, head: bytes, line: bytes, number: int) -> Message:
        """Return a line as a message with the key in its last columns."""
        key = b"\t".join(line.split(b"\t")[len(self.types) :]) if self.key else None
        return Message(self.source, ROWS, number, key, head + line)

    def decode(self, value: bytes | None) -> Decoded:
        """Decode a message's value.  Raises DecodeError if it has other columns."""
        if value is None or len(value) < _HEAD.size or value[0] != MAGIC:
            raise DecodeError("the message does not contain a row of a batch run")
        _, number, position, milliseconds = _HEAD.unpack_from(value)
        if number != self.number:
            raise DecodeError(
                "the row was read with other columns than the mapping has now: run the batch again"
            )
        return Decoded(
            op="r",
            after=self._values(value[_HEAD.size :]),
            before=None,
            lsn=position,
            ts_ms=milliseconds,
            origin=None,
            snapshot=None,
            order=BATCH_ORDINAL,
        )

    def _values(self, line: bytes) -> tuple[Any, ...]:
        try:
            texts = line.decode().split("\t")
        except UnicodeDecodeError:
            raise DecodeError(
                'the row has bytes that are not UTF-8: a column of type "char" or a database '
                "with the encoding SQL_ASCII holds them"
            ) from None
        return tuple(
            [
                None if text == _NULL else text if read is None else read(text)
                for text, read in zip(texts, self._read, strict=False)
            ]
        )

    def named_key(self, message: Message) -> dict[str, str]:
        """Return the key of a message's row, by column."""
        return dict(zip(self.key, self.key_of(message), strict=True))

    def key_of(self, message: Message) -> list[str]:
        """Return the key of a message's row, as text that PostgreSQL reads."""
        assert message.key is not None
        return [_unescape(text) for text in message.key.decode().split("\t")]


def is_batch_row(value: bytes | None) -> bool:
    """Return whether a message's value is a row of a batch run."""
    return value is not None and value[:1] == bytes([MAGIC])
