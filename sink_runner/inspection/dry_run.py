"""A mapping's chain put together as for a run, with a target in which nothing stays written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

import psycopg

from ..avro import EnvelopeDecoder, KeyDecoder
from ..batch.applier import Alone, BatchApplier
from ..batch.source import Source, own_by_rows
from ..config.database import find_database
from ..errors import DecodeError, EventError
from ..loading import registry
from ..loading.quarantine import require_usable
from ..masking.column_origins import read_origins
from ..model.batch import Batch
from ..model.clock import clock
from ..model.dead_letter import DeadLetter
from ..model.envelope import Decoded
from ..model.message import Message
from ..pipeline import CompiledMapping, assemble
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog, read_table
from ..postgres.error_classes import classify_error
from ..postgres.session import connect
from ..postgres.target_column import TargetColumn
from ..postgres.types import PgType
from ..transform.before_image import columns_before
from ..transform.incoming import Shape
from ..transform.key_identity import Ownership, own_by_events
from ..transform.lookups import Lookups
from ..transform.route import Route
from ..transform.shape import shape_of
from ..transform.steps import Chain
from ..writer.audit import trail
from ..writer.dead_letters import DeadLetters
from ..writer.refused_column import RefusedColumn
from ..writer.writers import make_writer
from .service import DlqService
from .trace import Notes


class Reading(NamedTuple):
    """How messages of a mapping are read."""

    decode: Callable[[Message], Decoded]
    shape_of: Callable[[bytes], Shape]
    subject: Callable[[Message], str]
    own: Callable[[Chain, Mapping[str, PgType]], Ownership]
    source_key: Collection[str]


class Rehearsal(NamedTuple):
    """A mapping on a stage of its own."""

    mapping: TableMapping
    parts: CompiledMapping
    applier: BatchApplier
    decode: Callable[[Message], Decoded]

    @property
    def route(self) -> Route:
        return self.parts.route

    @property
    def columns(self) -> Sequence[TargetColumn]:
        return self.parts.columns

    @property
    def key(self) -> Sequence[str]:
        return (self.mapping.derived or self.mapping).key

    @property
    def shown(self) -> frozenset[str]:
        """The target's columns that are nobody's."""
        return self.parts.shown

    def write(self, batch: Batch) -> tuple[int, EventError | None]:
        """Write and roll back; how many rows changed, and why it was refused."""
        letters: list[DeadLetter] = []
        written = self.applier.transact(
            lambda connection: self.applier.put(connection, batch.changes, letters).rows, dry=True
        )
        return written, letters[0].error if letters else None


@contextmanager
def rehearsal(
    bench: DlqService, plugin: registry.Plugin, notes: Notes, *, of_batch: bool
) -> Iterator[Rehearsal]:
    """Everything connected, and `notes` told of each step."""
    mapping, config = plugin.mapping, bench.config
    assert mapping is not None
    dsns = config.readers
    target_dsn = find_database(config.databases, mapping.target_table.database).dsn
    try:
        with connect(target_dsn, "sink-runner dlq") as connection:
            target = read_table(connection, mapping.target_table)
        reading = _reading(bench, mapping, of_batch=of_batch)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    with closing(Lookups(mapping.columns, dsns, mapping=mapping)) as lookups:
        parts = assemble(
            plugin,
            require_usable(plugin, bench.plugins.values()),
            target.columns,
            bench.policies,
            origins=read_origins(mapping, dsns, strict=config.schema.strict),
            shape_of=reading.shape_of,
            resolve=notes.watch_lookups(lookups.resolve),
            resolve_in_target=lookups.resolve,
            subject=reading.subject,
            own=reading.own,
            source_key=reading.source_key,
            batch=of_batch,
            watch=notes.watch,
        )
        with closing(_applier(bench, plugin, parts, target)) as applier:
            yield Rehearsal(mapping, parts, applier, reading.decode)


def _applier(
    bench: DlqService, plugin: registry.Plugin, parts: CompiledMapping, target: TableCatalog
) -> BatchApplier:
    mapping = plugin.mapping
    assert mapping is not None
    audited = trail(plugin.name, mapping, parts, bench.encryptor)
    return BatchApplier(
        plugin.name,
        dsn=find_database(bench.config.databases, mapping.target_table.database).dsn,
        writer=make_writer(plugin.name, mapping, parts, target, audited),
        lookups=parts.target_lookups,
        refused=RefusedColumn(parts.columns, {n: c.pg for n, c in target.columns.items()}),
        offsets=Alone(plugin.name),
        dead_letters=DeadLetters(plugin.name, plugin.version, bench.encryptor),
        clock=clock,
        trail=audited,
    )


def _reading(bench: DlqService, mapping: TableMapping, *, of_batch: bool) -> Reading:
    table = mapping.source_table
    with connect(
        find_database(bench.config.databases, table.database).reader_dsn, "sink-runner dlq"
    ) as asking:
        catalog = read_table(asking, table)
        return (
            _of_rows(mapping, Source.of(mapping, catalog, asking))
            if of_batch
            else _of_events(bench, mapping, catalog)
        )


def _of_events(bench: DlqService, mapping: TableMapping, catalog: TableCatalog) -> Reading:
    decoder = EnvelopeDecoder(
        bench.schemas,
        after=mapping.source_columns,
        before=columns_before(mapping),
        toastable=catalog.toastable,
        placeholder=bench.config.capture.placeholder,
    )
    keys = KeyDecoder(bench.schemas, sorted(catalog.primary_key))

    def decode(message: Message) -> Decoded:
        found = decoder.decode(message.value)
        if not isinstance(found, Decoded):
            raise DecodeError("the record is no change event")
        return found

    return Reading(
        decode,
        partial(shape_of, decoder, mapping, catalog),
        lambda message: ",".join(str(part) for part in keys.decode(message.key)),
        partial(own_by_events, mapping, catalog, keys),
        catalog.primary_key,
    )


def _of_rows(mapping: TableMapping, source: Source) -> Reading:
    types = {column.name: column for column in source.format.columns}
    shape = Shape(source.format.columns, [types[name] for name in columns_before(mapping)])
    return Reading(
        lambda message: source.format.decode(message.value),
        lambda _value: shape,
        lambda message: ",".join(source.format.key_of(message)),
        partial(own_by_rows, source),
        source.format.key,
    )
