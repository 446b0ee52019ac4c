"""Read a mapping's messages: records of its topic, rows of a batch run, or samples of a test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ..avro import EnvelopeDecoder, KeyDecoder, SchemaSource
from ..errors import DecodeError
from ..model.envelope import Decoded, Kind
from ..model.message import Message
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.types import UNRESOLVED, PgType
from .before_image import columns_before
from .incoming import Shape
from .key_identity import Ownership, own_by_events
from .route import HEADER, DeriveRemoval
from .row_plan import SourceColumn
from .steps import Chain
from .tombstones import TombstoneRemovals

DecodedValue: TypeAlias = Decoded | DecodeError | None
"""An event, the error that prevents it, or None for a message without a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """The functions by which a pipeline reads the messages of one kind of source."""

    decode: Callable[[Sequence[Message]], Sequence[DecodedValue]]
    """Decode messages, one result for each."""
    shape_of: Callable[[bytes], Shape]
    """Return the columns of the rows in a message's value."""
    subject: Callable[[Message], str]
    """Return the source's key of a message as text."""
    own: Callable[[Chain, Mapping[str, PgType]], Ownership] = lambda _chain, _target: Ownership()
    """Decide which source rows the target's keys come from, given the types of its columns."""
    source_key: Collection[str] = ()
    """The columns of the source's key."""
    key_columns: Callable[[bytes], Collection[str]] | None = None
    """Return the columns of a message's key; None if they always are the source's key."""
    removal: DeriveRemoval | None = None
    """Derive the removal from the tombstone of a compacted topic."""
    is_batch: bool = False
    """Whether the messages are the rows of a batch run, for `Context.batch`."""


def topic_source(
    mapping: TableMapping,
    source: TableCatalog,
    *,
    values: SchemaSource,
    keys: SchemaSource,
    placeholder: str,
) -> EventSource:
    """Read the Debezium records of a mapping's topic.

    `values` and `keys` return the schemas of the records' values and keys; `placeholder` stands for
    an unchanged TOASTed value.
    """
    decoder = EnvelopeDecoder(
        values,
        after=mapping.source_columns,
        before=columns_before(mapping),
        toastable=source.toastable,
        placeholder=placeholder,
    )
    key_decoder = KeyDecoder(keys, sorted(source.primary_key))
    return EventSource(
        decode=lambda messages: decoder.decode_many([message.value for message in messages]),
        shape_of=partial(shape_of, decoder, mapping, source),
        subject=lambda message: ",".join(str(part) for part in key_decoder.decode(message.key)),
        own=partial(own_by_events, mapping, source, key_decoder),
        source_key=source.primary_key,
        key_columns=key_decoder.columns,
        removal=TombstoneRemovals(mapping, source, key_decoder).removal,
    )


def shape_of(
    decoder: EnvelopeDecoder, mapping: TableMapping, source: TableCatalog, value: bytes
) -> Shape:
    """Return the columns of a record's rows, by the schema of its value and the catalog."""
    kinds = decoder.plan(int.from_bytes(value[1:HEADER])).row.columns

    def columns(names: Iterable[str]) -> list[SourceColumn]:
        return [column(name) for name in names]

    def column(name: str) -> SourceColumn:
        written, declared = kinds.get(name), source.columns.get(name)
        return SourceColumn(
            name,
            Kind.OPAQUE if written is None else written.kind,
            None if declared is None else declared.type,
            UNRESOLVED if declared is None else declared.pg,
            None if written is None else written.item,
        )

    return Shape(columns(mapping.source_columns), columns(columns_before(mapping)))
