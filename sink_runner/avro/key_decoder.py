"""Decode the key of a Kafka record, which is rarely needed, since the row contains it as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import DecodeError
from ..model.envelope import ColumnType
from . import fastavro_decoder
from .compile import HEADER, compile_row
from .decoder import FAULTS, SchemaSource, schema_id_of
from .row_schema import row_schema
from .schema import Record, parse


class KeyDecoder:
    """Decodes a record's key to the wanted columns.  One thread at a time."""

    def __init__(self, registry: SchemaSource, columns: Sequence[str]) -> None:
        self._registry = registry
        self._columns = tuple(columns)
        self._plans: dict[bytes, tuple[Callable[[bytes], tuple[Any, ...]], Any]] = {}

    def decode(self, key: bytes | None) -> tuple[Any, ...]:
        """Decode one key; a record without a key is a DecodeError."""
        if key is None:
            raise DecodeError("the record has no key")
        plan = self._plans.get(key[:HEADER])
        if plan is None:
            plan = self._plans[key[:HEADER]] = self._make(schema_id_of(key))
        quick, parsed = plan
        try:
            return quick(key)
        except FAULTS:
            row = fastavro_decoder.project(fastavro_decoder.read(key, parsed), self._columns)
            assert row is not None
            return row

    def columns(self, key: bytes) -> Mapping[str, ColumnType]:
        """Return the columns of a key's schema."""
        _, kind = parse(self._registry.schema(schema_id_of(key)))
        if not isinstance(kind, Record):
            raise DecodeError("the key's schema is not a record")
        return row_schema(kind).columns

    def _make(self, schema_id: int) -> tuple[Callable[[bytes], tuple[Any, ...]], Any]:
        parsed, kind = parse(self._registry.schema(schema_id))
        if not isinstance(kind, Record):
            raise DecodeError(f"the key's schema {schema_id} is not a record")
        missing = row_schema(kind).missing(self._columns)
        if missing:
            raise DecodeError(f"the key's schema {schema_id} lacks {', '.join(missing)}")
        return compile_row(kind, self._columns), parsed
