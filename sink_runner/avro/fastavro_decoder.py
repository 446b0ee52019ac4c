"""Decode by fastavro, the reference of the tests and the fallback of the compiled decoder."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import fastavro

from ..errors import DecodeError
from ..model.envelope import Decoded, Placeholder
from ..plugin import ABSENT
from .compile import HEADER, ORDER, SOURCE_FIELDS, Wanted

BAD_BYTES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    struct.error,
)
"""The errors of decoding arbitrary bytes as Avro."""


def read(message: bytes, parsed: Any) -> Any:
    """Decode a whole message, or raise DecodeError, whose text does not quote it."""
    body = BytesIO(message)
    body.seek(HEADER)
    try:
        value = fastavro.schemaless_reader(body, parsed, None)
    except BAD_BYTES as exc:
        # Not chained: a UnicodeDecodeError carries the bytes.
        raise DecodeError(f"the bytes do not fit the schema: {type(exc).__name__}") from None
    if body.read(1):
        raise DecodeError("bytes are left over after the value")
    return value


def decode_envelope(
    message: bytes, parsed: Any, wanted: Wanted, placeholder: Placeholder
) -> Decoded:
    """Decode an event to the same value as the compiled decoder."""
    event = read(message, parsed)
    source = {name: event["source"].get(field) for field, name in SOURCE_FIELDS.items()}
    whole = project(event["after"], wanted.after)
    after = placeholder.without(whole, wanted.may_lack) if event["op"] == "u" else whole
    return Decoded(
        op=event["op"],
        after=after,
        before=project(event["before"], wanted.before),
        **{name: value if name in wanted.source else None for name, value in source.items()},
        order=_order(event) if "order" in wanted.source else 0,
        partial=after is not whole,
    )


def _order(event: dict[str, Any]) -> int:
    block = event.get("transaction")
    order = block.get(ORDER) if isinstance(block, dict) else None
    return order if isinstance(order, int) else 0


def project(row: dict[str, Any] | None, columns: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return the wanted columns of a row."""
    return None if row is None else tuple(row.get(name, ABSENT) for name in columns)
