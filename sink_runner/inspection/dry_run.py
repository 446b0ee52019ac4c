"""A mapping's chain put together as for a run, with a target in which nothing stays written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import psycopg

from ..batch.applier import Alone, BatchApplier
from ..batch.source import Source, row_source
from ..config.database import find_database
from ..errors import DecodeError, EventError
from ..loading import discovery
from ..loading.quarantine import require_usable
from ..masking.column_origins import read_origins
from ..model.batch import Batch
from ..model.clock import clock
from ..model.dead_letter import DeadLetter
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog, read_table
from ..postgres.error_classes import classify_error
from ..postgres.session import connect
from ..postgres.target_column import TargetColumn
from ..transform.compiled_mapping import CompiledMapping, compile_mapping
from ..transform.event_source import EventSource, topic_source
from ..transform.lookups import Lookups
from ..transform.route import Route
from ..writer.audit import trail
from ..writer.dead_letters import DeadLetters
from ..writer.refused_column import RefusedColumn
from ..writer.writers import make_writer
from .service import DlqService
from .trace import Trace


class Rehearsal(NamedTuple):
    """A mapping on a stage of its own."""

    mapping: TableMapping
    parts: CompiledMapping
    applier: BatchApplier
    source: EventSource

    def decode(self, message: Message) -> Decoded:
        """Decode the event; DecodeError for anything else."""
        (decoded,) = self.source.decode([message])
        if isinstance(decoded, DecodeError):
            raise decoded
        if decoded is None:
            raise DecodeError("the record is no change event")
        return decoded

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
        dead_letters: list[DeadLetter] = []
        written = self.applier.transact(
            lambda connection: self.applier.put(connection, batch.changes, dead_letters).rows,
            dry=True,
        )
        return written, dead_letters[0].error if dead_letters else None


@contextmanager
def rehearsal(
    bench: DlqService, plugin: discovery.Plugin, trace: Trace, *, of_batch: bool
) -> Iterator[Rehearsal]:
    """Everything connected, and `trace` told of each step."""
    mapping, config = plugin.mapping, bench.config
    assert mapping is not None
    dsns = config.readers
    target_dsn = find_database(config.databases, mapping.target_table.database).dsn
    try:
        with connect(target_dsn, "sink-runner dlq") as connection:
            target = read_table(connection, mapping.target_table)
        source = _event_source(bench, mapping, of_batch=of_batch)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    with closing(Lookups(mapping.columns, dsns, mapping=mapping)) as lookups:
        parts = compile_mapping(
            plugin,
            require_usable(plugin, bench.plugins.values()),
            target.columns,
            bench.policies,
            source,
            origins=read_origins(mapping, dsns, strict=config.schema.strict),
            resolve=trace.watch_lookups(lookups.resolve),
            resolve_in_target=lookups.resolve,
            trace=trace.watch,
        )
        with closing(_applier(bench, plugin, parts, target)) as applier:
            yield Rehearsal(mapping, parts, applier, source)


def _applier(
    bench: DlqService, plugin: discovery.Plugin, parts: CompiledMapping, target: TableCatalog
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


def _event_source(bench: DlqService, mapping: TableMapping, *, of_batch: bool) -> EventSource:
    table, config = mapping.source_table, bench.config
    dsn = find_database(config.databases, table.database).reader_dsn
    with connect(dsn, "sink-runner dlq") as connection:
        catalog = read_table(connection, table)
        if of_batch:
            return row_source(Source.of(mapping, catalog, connection))
    return topic_source(
        mapping,
        catalog,
        values=bench.schemas,
        keys=bench.schemas,
        placeholder=config.capture.placeholder,
    )
