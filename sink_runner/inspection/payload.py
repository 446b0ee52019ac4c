"""Decrypt and decode the event of a dead letter, with all of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag

from ..avro import EnvelopeDecoder
from ..avro.decoder import SchemaSource, schema_id_of
from ..avro.key_decoder import KeyDecoder
from ..batch.rows import RowFormat
from ..dlq.stored_dead_letters import StoredDeadLetter
from ..errors import DecodeError, SinkError
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import ABSENT, Table
from ..writer.encryption import Encryptor

Row = Mapping[str, Any]


class DecryptionError(SinkError):
    """A dead letter was encrypted with a key that is not configured, or has no payload any more."""


class Payload(NamedTuple):
    """An event as its source wrote it, unmasked."""

    op: str
    key: Row | None
    before: Row | None
    after: Row | None
    committed_ms: int | None
    position: int | None
    origin: str | None

    @property
    def columns(self) -> list[str]:
        """The columns of the rows and of the key, without duplicates."""
        return list(dict.fromkeys([*(self.key or ()), *(self.before or ()), *(self.after or ())]))


class Payloads:
    """Decrypts and decodes dead letters.

    `row_format` returns the format of the rows of a mapping's batch runs; `placeholder` is the
    setting of capture.
    """

    def __init__(
        self,
        encryptor: Encryptor,
        schemas: SchemaSource,
        row_format: Callable[[str], RowFormat],
        placeholder: str,
    ) -> None:
        self._encryptor = encryptor
        self._schemas = schemas
        self._row_format = row_format
        self._placeholder = placeholder
        self._decoders: dict[int, tuple[EnvelopeDecoder, tuple[str, ...]]] = {}

    def message(self, dead_letter: StoredDeadLetter) -> Message:
        """Return the original Kafka record; raise DecryptionError if no key decrypts it."""
        if dead_letter.source_data is None:
            raise DecryptionError(
                f"dead letter {dead_letter.dlq_id} is {dead_letter.status}, so its payload was "
                "deleted: only its error and where it came from are kept"
            )
        try:
            return self._encryptor.decrypt(dead_letter.source_data, *dead_letter.place)
        except InvalidTag:
            raise DecryptionError(
                f"key {dead_letter.key_id!r}, which the dead letter is encrypted with, is missing: "
                "put that key under its name into [dead_letters] old_keys"
            ) from None

    def read(self, dead_letter: StoredDeadLetter) -> Payload:
        """Decode the event, or raise DecodeError, whose text quotes no value."""
        message = self.message(dead_letter)
        if dead_letter.of_batch:
            return self._row(dead_letter, message)
        decoder, names = self._decoder(message.value or b"")
        event = decoder.decode(message.value)
        if not isinstance(event, Decoded):
            raise DecodeError("the record is not a change event")
        return _payload(event, names, self._key(message))

    def table(self, dead_letter: StoredDeadLetter) -> Table:
        """Return the source table of the row."""
        return Table.parse(dead_letter.topic)

    def _row(self, dead_letter: StoredDeadLetter, message: Message) -> Payload:
        format_ = self._row_format(dead_letter.flow)
        names = tuple(format_.types)
        key = None
        if message.key is not None:
            key = dict(zip(format_.key, format_.key_of(message), strict=False))
        return _payload(format_.decode(message.value), names, key)

    def _decoder(self, value: bytes) -> tuple[EnvelopeDecoder, tuple[str, ...]]:
        """Return a decoder of all columns, and their names."""
        schema_id = schema_id_of(value)
        if schema_id not in self._decoders:
            names = EnvelopeDecoder(self._schemas).plan(schema_id).row.names
            made = EnvelopeDecoder(
                self._schemas, after=names, before=names, placeholder=self._placeholder
            )
            self._decoders[schema_id] = made, names
        return self._decoders[schema_id]

    def _key(self, message: Message) -> Row | None:
        if message.key is None:
            return None
        names = tuple(KeyDecoder(self._schemas, ()).columns(message.key))
        return dict(zip(names, KeyDecoder(self._schemas, names).decode(message.key), strict=True))


def _payload(event: Decoded, names: tuple[str, ...], key: Row | None) -> Payload:
    def row(values: tuple[Any, ...] | None) -> Row | None:
        if values is None:
            return None
        pairs = zip(names, values, strict=True)
        return {name: value for name, value in pairs if value is not ABSENT}

    return Payload(
        event.op, key, row(event.before), row(event.after), event.ts_ms, event.lsn, event.origin
    )
