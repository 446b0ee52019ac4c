"""Decode Kafka records: compile a decoder for each writer's schema, and fall back to fastavro."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import DecodeError
from ..model.envelope import DEFAULT_PLACEHOLDER, PLACEHOLDER, Decoded, Placeholder, RowSchema
from . import fastavro_decoder
from .code_writer import MalformedError
from .compile import HEADER, Wanted, compile_envelope, is_envelope, row_of
from .row_schema import row_schema
from .schema import Record, parse

DEFAULT_SOURCE = frozenset(("lsn", "ts_ms", "origin", "snapshot", "sequence", "order"))

# The errors of a compiled decoder, after which fastavro decides.
FAULTS = (*fastavro_decoder.BAD_BYTES, MalformedError)


class SchemaSource(Protocol):
    """Returns schemas by their ids."""

    def schema(self, schema_id: int) -> Any:
        """Return a writer's schema as parsed JSON, references inlined."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The decoder of the records of one schema."""

    schema_id: int
    row: RowSchema
    """The columns of the row."""
    quick: Callable[[bytes], Decoded] | None
    """The compiled decoder; None if only fastavro can decode the schema."""
    parsed: Any
    placeholder: Placeholder


class EnvelopeDecoder:
    """Decodes change events to the wanted columns of the row after and before the change.

    `source` names the wanted fields of the source block, and `order` that of the transaction block;
    the others are None (0) in `Decoded`.  `toastable` names the columns that an update may omit if
    they are unchanged; None for any column.  `placeholder` is Debezium's setting
    `unavailable.value.placeholder`, for schemas that do not state it.  One thread at a time.
    """

    def __init__(
        self,
        registry: SchemaSource,
        *,
        after: Sequence[str] = (),
        before: Sequence[str] = (),
        source: frozenset[str] = DEFAULT_SOURCE,
        toastable: frozenset[str] | None = None,
        placeholder: str = DEFAULT_PLACEHOLDER,
    ) -> None:
        self._registry = registry
        self._placeholder = Placeholder.of_debezium(placeholder)
        self._wanted = Wanted(tuple(after), tuple(before), source, toastable)
        self._plans: dict[int, Plan] = {}
        self._quick: dict[bytes, Callable[[bytes], Decoded]] = {}

    def plan(self, schema_id: int) -> Plan:
        """Return the plan of a schema; make it at the first call."""
        plan = self._plans.get(schema_id)
        if plan is None:
            plan = self._plans[schema_id] = self._make(schema_id)
            if plan.quick is not None:
                self._quick[_header(schema_id)] = plan.quick
        return plan

    def decode(self, value: bytes | None) -> Decoded | None:
        """Decode one record's value.  Raises DecodeError for the record, else RetriableError.

        Returns None for a tombstone, a record without a value.
        """
        (decoded,) = self.decode_many((value,))
        if isinstance(decoded, DecodeError):
            raise decoded
        return decoded

    def decode_many(self, values: Sequence[bytes | None]) -> list[Decoded | DecodeError | None]:
        """Decode a batch; a record that cannot be decoded is a DecodeError in its place.

        RetriableError says that the registry did not answer: try the whole batch again.
        """
        quick = self._quick
        unknown: dict[int, str] = {}
        batch: list[Decoded | DecodeError | None] = []
        for value in values:
            if value is None:
                batch.append(None)
                continue
            decode = quick.get(value[:HEADER])
            if decode is not None:
                try:
                    batch.append(decode(value))
                    continue
                except FAULTS:
                    pass
            batch.append(self._decode_by_fastavro(value, unknown))
        return batch

    def _decode_by_fastavro(self, value: bytes, unknown: dict[int, str]) -> Decoded | DecodeError:
        """Decode with fastavro.  `unknown` has the schemas that the batch did not find."""
        try:
            plan = self._plan_of(value, unknown)
            return fastavro_decoder.decode_envelope(
                value, plan.parsed, self._wanted, plan.placeholder
            )
        except DecodeError as exc:
            # A traceback would keep the batch alive, and its rows.
            return exc.with_traceback(None)

    def _plan_of(self, value: bytes, unknown: dict[int, str]) -> Plan:
        schema_id = schema_id_of(value)
        if schema_id in unknown:
            raise DecodeError(unknown[schema_id])
        try:
            return self.plan(schema_id)
        except DecodeError as exc:
            unknown[schema_id] = str(exc)
            raise

    def _make(self, schema_id: int) -> Plan:
        raw = self._registry.schema(schema_id)
        parsed, kind = parse(raw)
        if not is_envelope(kind):
            # Heartbeats and similar records have their own topics, so the id was corrupted.
            raise DecodeError(f"schema {schema_id} is not a Debezium envelope")
        assert isinstance(kind, Record)
        record = row_of(kind, "after")
        assert record is not None
        row = row_schema(record)
        placeholder = self._placeholder_of(raw)
        try:
            quick = compile_envelope(kind, self._wanted, placeholder)
        except DecodeError:
            quick = None  # too deep for Python's compiler, not for fastavro
        return Plan(schema_id, row, quick, parsed, placeholder)

    def _placeholder_of(self, raw: Any) -> Placeholder:
        """Return the placeholder that the schema states, otherwise that of the setting."""
        try:
            setting = raw["connect.parameters"][PLACEHOLDER]
        except (KeyError, TypeError):
            return self._placeholder
        try:
            return Placeholder.of_text(setting)
        except (AttributeError, ValueError) as exc:
            raise DecodeError(f"parameter of the schema: {exc}") from exc


def schema_id_of(message: bytes) -> int:
    """Read the schema's id from a message in Confluent's wire format."""
    if len(message) < HEADER or message[0] != 0:
        raise DecodeError("the message does not begin with Confluent's magic byte and schema id")
    return int.from_bytes(message[1:HEADER], "big")


def _header(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")
