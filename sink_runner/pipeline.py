"""Build the pipeline of a mapping: from the messages of a source of events to its target.

`runtime` builds one for a topic, `batch` for the rows of a run, `inspection` for the dry run of a
dead letter, and `testing` for the samples of a test.  They differ only in the source of the events
and in what fences the writes.

An event passes `Pipeline.decode`, `Pipeline.transform`, `RetryQueue.hold`, `Committer.apply` and
`RetryQueue.record_committed`, in this order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

from .config import Config
from .config.database import find_database
from .config.dsn import Dsn
from .dlq.retry_queue import ReportCounts, RetryQueue
from .dlq.superseding import identify_rows
from .errors import DecodeError
from .loading import discovery
from .masking.column_origins import read_origins
from .masking.origins import Origins
from .masking.policy import Policies
from .masking.policy_reload import Refresh
from .model.batch import Batch, Oldest
from .model.clock import clock
from .model.dead_letter import DeadLetter
from .model.envelope import Decoded
from .model.message import Message
from .model.portions import DEFAULT_BYTES
from .plugin import Event, TableMapping
from .postgres.catalog import TableCatalog
from .transform.compiled_mapping import CompiledMapping, compile_mapping, remask
from .transform.event_source import EventSource
from .transform.lookup_step import Resolver
from .transform.lookups import Lookups
from .transform.steps import Chain
from .transform.tombstones import TOMBSTONE
from .writer.audit import Trail, trail
from .writer.budget import Budget
from .writer.callback_rows import CallbackRows
from .writer.committer import Committer
from .writer.dead_letters import DeadLetters
from .writer.encryption import Encryptor, build_encryptor
from .writer.offsets import OffsetStore
from .writer.refused_column import RefusedColumn
from .writer.resolve import RowWriter
from .writer.target_session import TargetSession
from .writer.truncation import truncation
from .writer.writers import make_writer


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSetup:
    """A mapping with what its pipeline needs besides the source of the events."""

    plugin: discovery.Plugin
    plugins: Sequence[discovery.Plugin]
    """All plugins that are on, `plugin` among them."""
    policies: Policies
    origins: Origins
    target: TableCatalog
    target_dsn: Dsn
    readers: Mapping[str, Dsn]
    """The connection of each database that lookups read, by the name of the database."""
    encryptor: Encryptor
    clock: Callable[[], datetime] = clock
    timeout: float = 60.0
    """Seconds that a statement may take."""
    retry: timedelta = timedelta(0)
    """How long a deferred event waits before it is retried."""
    give_up: timedelta = timedelta(days=1)
    """How long a deferred event is retried before it becomes a dead letter."""
    max_bytes: int = DEFAULT_BYTES
    """Bytes of deferred events that are retried in one batch."""
    marks_origin: bool = True
    """Whether the writes get the mapping's replication origin; a dry run needs none."""

    @property
    def mapping(self) -> TableMapping:
        assert self.plugin.mapping is not None
        return self.plugin.mapping

    @classmethod
    def of_config(
        cls,
        plugin: discovery.Plugin,
        plugins: Sequence[discovery.Plugin],
        config: Config,
        policies: Policies,
        target: TableCatalog,
    ) -> MappingSetup:
        """Read the remaining fields from the settings, and the origins from the databases."""
        mapping = plugin.mapping
        assert mapping is not None
        return cls(
            plugin=plugin,
            plugins=plugins,
            policies=policies,
            origins=read_origins(mapping, config.readers, strict=config.schema.strict),
            target=target,
            target_dsn=find_database(config.databases, mapping.target_table.database).dsn,
            readers=config.readers,
            encryptor=build_encryptor(config),
            timeout=config.batch.timeout_seconds,
            retry=timedelta(seconds=config.waiting.retry_seconds),
            give_up=timedelta(hours=config.waiting.give_up_hours),
            max_bytes=config.waiting.max_bytes,
        )


class Tracer(Protocol):
    """Records the results of a pipeline's steps."""

    def trace_steps(self, chain: Chain) -> Chain: ...

    def trace_lookups(self, resolve: Resolver) -> Resolver: ...


class DecodedMessages(NamedTuple):
    """Messages with their events, and dead letters for those that cannot be decoded."""

    events: list[tuple[Message, Decoded]]
    dead_letters: list[DeadLetter]
    started: float
    """When the decoding began, by the monotonic clock."""
    ended: float = 0.0

    def date(self, batch: Batch) -> None:
        """Note when the source committed the oldest and the last event."""
        times = [decoded.ts_ms for _, decoded in self.events if decoded.ts_ms]
        if not times:
            return
        batch.last_ms, first = max(times), min(times)
        message = next(message for message, decoded in self.events if decoded.ts_ms == first)
        batch.oldest = Oldest(first, message.timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Applies the messages of one source of events to the target of one mapping."""

    name: str
    mapping: TableMapping
    source: EventSource
    compiled: CompiledMapping
    writer: RowWriter
    committer: Committer
    retry_queue: RetryQueue
    lookups: Lookups

    def decode(self, messages: Sequence[Message]) -> DecodedMessages:
        """Decode messages; a tombstone becomes a deletion."""
        found = DecodedMessages([], [], time.monotonic())
        for message, decoded in zip(messages, self.source.decode(messages), strict=True):
            if isinstance(decoded, DecodeError):
                found.dead_letters.append(DeadLetter(message, decoded))
            else:
                found.events.append((message, decoded or TOMBSTONE))
        return found._replace(ended=time.monotonic())

    def transform(self, decoded: DecodedMessages) -> Batch:
        """Filter, map, look up and mask events."""
        started = time.monotonic()
        batch = self.compiled.route.apply(decoded.events)
        batch.dead_letters.extend(decoded.dead_letters)
        decoded.date(batch)
        batch.began = decoded.started
        batch.seconds = {
            "decode": decoded.ended - decoded.started,
            "transform": time.monotonic() - started,
        }
        return batch

    def prepare(self, messages: Sequence[Message]) -> Batch:
        """Decode and transform messages."""
        return self.transform(self.decode(messages))

    def event_of(self, message: Message) -> Event | None:
        """Return the event that hooks get for a message; None if it cannot be decoded."""
        (decoded,) = self.source.decode([message])
        if not isinstance(decoded, Decoded):
            return None
        return self.compiled.route.event_of(message, decoded)

    def close(self) -> None:
        self.committer.session.close()
        self.lookups.close()


def build_pipeline(
    setup: MappingSetup,
    source: EventSource,
    offsets: OffsetStore,
    *,
    budget: Budget | None = None,
    policy_digest: Callable[[], str] | None = None,
    is_echo: Callable[[str], bool] = lambda _origin: False,
    report_counts: ReportCounts = lambda _counts: None,
    tracer: Tracer | None = None,
) -> Pipeline:
    """Connect a mapping to a source of events; nothing is read or written yet.

    `offsets` fences the writes.  `budget` limits how many events may fail.  `policy_digest` returns
    the digest of the policies in force; a batch that was masked by other policies is refused.
    `is_echo` gets the replication origin of another process and returns whether it writes echoes.
    `report_counts` gets the numbers of dead letters whenever they are counted.
    """
    lookups = Lookups(setup.mapping.columns, setup.readers, setup.timeout, mapping=setup.mapping)
    compiled = compile_mapping(
        setup.plugin,
        setup.plugins,
        setup.target.columns,
        setup.policies,
        source,
        origins=setup.origins,
        resolve=tracer.trace_lookups(lookups.resolve) if tracer else lookups.resolve,
        resolve_in_target=lookups.resolve,
        trace=tracer.trace_steps if tracer else lambda chain: chain,
        is_echo=is_echo,
    )
    audit_trail = trail(setup.plugin.name, setup.mapping, compiled, setup.encryptor)
    writer = make_writer(setup.plugin.name, setup.mapping, compiled, setup.target, audit_trail)
    committer = _build_committer(
        setup, compiled, writer, offsets, audit_trail, budget=budget, policy_digest=policy_digest
    )
    return Pipeline(
        name=setup.plugin.name,
        mapping=setup.mapping,
        source=source,
        compiled=compiled,
        writer=writer,
        committer=committer,
        retry_queue=_build_retry_queue(setup, source, compiled, committer, report_counts),
        lookups=lookups,
    )


def follow_policies(
    setup: MappingSetup, pipeline: Pipeline, current: Callable[[], Policies]
) -> Refresh:
    """Return a function to call between two batches: it makes `pipeline` use current policies."""
    columns = setup.target.columns
    mask_by = partial(remask, pipeline.compiled, setup.plugin, setup.plugins, columns)
    return Refresh(setup.policies, current, mask_by)


def _build_committer(
    setup: MappingSetup,
    compiled: CompiledMapping,
    writer: RowWriter,
    offsets: OffsetStore,
    audit_trail: Trail,
    *,
    budget: Budget | None,
    policy_digest: Callable[[], str] | None,
) -> Committer:
    name, mapping = setup.plugin.name, setup.mapping
    types = {name: column.pg for name, column in setup.target.columns.items()}
    return Committer(
        name,
        session=TargetSession(
            name,
            setup.target_dsn,
            writer,
            timeout=setup.timeout,
            table=mapping.target_table,
            marks_origin=setup.marks_origin,
        ),
        offsets=offsets,
        dead_letters=DeadLetters(name, setup.plugin.version, setup.encryptor),
        clock=setup.clock,
        trail=audit_trail,
        budget=budget,
        policies=policy_digest,
        lookups=compiled.target_lookups,
        callbacks=CallbackRows(name, mapping, compiled.columns),
        refused=RefusedColumn(compiled.columns, types),
        truncation=truncation(name, mapping, writer),
    )


def _build_retry_queue(
    setup: MappingSetup,
    source: EventSource,
    compiled: CompiledMapping,
    committer: Committer,
    report_counts: ReportCounts,
) -> RetryQueue:
    return RetryQueue(
        setup.plugin.name,
        committer=committer,
        encryptor=setup.encryptor,
        retry=setup.retry,
        give_up=setup.give_up,
        clock=setup.clock,
        report_counts=report_counts,
        most_bytes=setup.max_bytes,
        identifies_row=identify_rows(
            setup.mapping, compiled.chain, source.source_key, source.key_columns
        ),
    )
