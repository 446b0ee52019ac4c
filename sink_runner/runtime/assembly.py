"""Put one mapping's parts together, checking all that can be checked before any row moves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.util import find_spec

from ..avro.schema_registry import SchemaRegistry
from ..config import Config
from ..config.database import Database, find_database
from ..dlq.key_rotation import check_fingerprints
from ..dlq.retry_queue import Waiting
from ..dlq.superseding import identify_rows
from ..errors import ConfigError
from ..kafka.connection import KafkaConnection
from ..kafka.feed import Feed
from ..kafka.identify import TopicWatch, identify
from ..kafka.kafka_python import KafkaPythonFeed
from ..kafka.liveness import listening
from ..kafka.offset_queries import epoch_end
from ..loading import discovery
from ..masking.column_origins import read_origins
from ..masking.policy import Policies
from ..masking.policy_reload import Refresh, after_polls
from ..model.clock import clock
from ..model.findings import refuse
from ..model.status import Health, MappingHealth
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.migrations import migrate_database
from ..preflight.checklist import check_mapping, check_topic, log_warnings
from ..preflight.source_cluster import ClusterWatch
from ..preflight.source_watch import SourceWatch
from ..schema_check.build import watch as schema_watch
from ..transform.compiled_mapping import CompiledMapping, compile_mapping, remask
from ..transform.event_source import EventSource, topic_source
from ..transform.lookups import Lookups
from ..writer.audit import trail
from ..writer.budget import Budget
from ..writer.callback_rows import CallbackRows
from ..writer.committer import Applier
from ..writer.dead_letters import DeadLetters
from ..writer.echo_guard import Feeders
from ..writer.encryption import Encryptor, build_encryptor
from ..writer.offsets import Offsets
from ..writer.refused_column import RefusedColumn
from ..writer.truncation import truncation
from ..writer.writers import make_writer
from .retry import RetryPolicy
from .worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeContext:
    """What all mappings of a runner share."""

    config: Config
    policies: Policies
    schemas: SchemaRegistry
    plugins: Sequence[discovery.Plugin]
    stop: threading.Event
    health: Health = field(default_factory=Health)
    latest: Callable[[], Policies] | None = None
    """The policies as they are now; None where they never change."""

    def database(self, name: str) -> Database:
        return find_database(self.config.databases, name)


def build(plugin: discovery.Plugin, around: RuntimeContext) -> Worker:
    """Check and connect everything for one mapping.

    Raises ConfigError for what the configuration has to change, RetriableError for what may come
    back without a change.
    """
    mapping = plugin.mapping
    assert mapping is not None
    migrate_database(around.database(mapping.target_table.database).dsn)
    policies = around.latest or (lambda: around.policies)
    watch = schema_watch(plugin.name, mapping, around.config, policies, around.schemas)
    sources = SourceWatch(
        plugin.name,
        mapping,
        source=around.database(mapping.source_table.database).reader_dsn,
        check=lambda: check_mapping(
            plugin.name, mapping, around.config, known=watch.known()
        ).catalogs(),
    )
    sources.start()
    source, target = _check(plugin.name, mapping, around, watch.known())
    clusters = ClusterWatch(
        plugin.name,
        mapping.source_table.database,
        source=around.database(mapping.source_table.database).reader_dsn,
        target=around.database(mapping.target_table.database).dsn,
    )
    clusters.check()
    config, health = around.config, around.health.mapping(plugin.name)
    events = topic_source(
        mapping,
        source,
        values=watch,
        keys=around.schemas,
        placeholder=config.capture.placeholder,
    )
    parts = _compile(plugin, mapping, around, events, target)
    kafka, topic_name = KafkaConnection.of(config.kafka), mapping.source_table.topic
    topic = identify(kafka, topic_name)
    encryptor = build_encryptor(config)
    check_fingerprints(around.database(mapping.target_table.database).dsn, plugin.name, encryptor)
    audited = trail(plugin.name, mapping, parts, encryptor)
    writer = make_writer(plugin.name, mapping, parts, target, audited)
    applier = Applier(
        plugin.name,
        dsn=around.database(mapping.target_table.database).dsn,
        writer=writer,
        lookups=parts.target_lookups,
        callbacks=CallbackRows(plugin.name, mapping, parts.columns),
        truncation=truncation(plugin.name, mapping, writer),
        refused=RefusedColumn(parts.columns, {n: c.pg for n, c in target.columns.items()}),
        offsets=Offsets(plugin.name, topic, f"{socket.gethostname()}:{os.getpid()}"),
        dead_letters=DeadLetters(plugin.name, plugin.version, encryptor),
        clock=clock,
        trail=audited,
        budget=Budget(plugin.name, config.dead_letters.budget, config.dead_letters.budget_share),
        timeout=config.batch.timeout_seconds,
        policies=lambda: policies().digest,
        table=mapping.target_table,
    )
    refresh = Refresh(
        around.policies, policies, partial(remask, parts, plugin, around.plugins, target.columns)
    )
    feed = watch.before(_feed(config, plugin.name, mapping.source_table.topic))
    identifies_row = identify_rows(
        mapping,
        parts.chain,
        source.primary_key,
        events.key_columns,
    )
    return Worker(
        plugin.name,
        feed=after_polls(listening(feed, health), refresh),
        decode=events.decode,
        route=parts.route,
        applier=applier,
        waiting=_waiting(
            plugin.name,
            config,
            health=health,
            applier=applier,
            encryptor=encryptor,
            identifies_row=identifies_row,
        ),
        hooks=parts.hooks,
        retry_policy=retry_policy(config),
        health=health,
        stop=around.stop,
        watches=(clusters, sources),
        topics=TopicWatch(
            plugin.name,
            topic,
            partial(identify, kafka, topic_name),
            partial(epoch_end, kafka, topic_name),
        ),
    )


def _check(
    name: str, mapping: TableMapping, around: RuntimeContext, known: Collection[str]
) -> tuple[TableCatalog, TableCatalog]:
    """The catalogs of source and target.  Raises ConfigError with everything that is refused."""
    preflight = check_mapping(
        name, mapping, around.config, known=known, beside=discovery.streaming(around.plugins)
    )
    findings = [*preflight.findings]
    try:
        findings += check_topic(name, mapping, around.config)
    finally:  # Kafka that does not answer keeps no fault of the databases back
        refuse(findings)
    log_warnings(findings)
    return preflight.catalogs()


def _compile(
    plugin: discovery.Plugin,
    mapping: TableMapping,
    around: RuntimeContext,
    events: EventSource,
    target: TableCatalog,
) -> CompiledMapping:
    timeout = around.config.batch.timeout_seconds
    lookups = Lookups(mapping.columns, around.config.readers, timeout, mapping=mapping)
    feeders = Feeders(
        around.database(mapping.source_table.database).dsn, mapping.target_table.topic
    )
    return compile_mapping(
        plugin,
        around.plugins,
        target.columns,
        around.policies,
        events,
        origins=read_origins(mapping, around.config.readers, strict=around.config.schema.strict),
        resolve=lookups.resolve,
        resolve_in_target=lookups.resolve,
        is_echo=feeders,
    )


def _waiting(
    name: str,
    config: Config,
    *,
    health: MappingHealth,
    applier: Applier,
    encryptor: Encryptor,
    identifies_row: Callable[[bytes], bool] | None,
) -> Waiting:
    """The retry queue of a mapping, by the settings."""
    budget = config.dead_letters.budget
    return Waiting(
        name,
        applier=applier,
        encryptor=encryptor,
        retry=timedelta(seconds=config.waiting.retry_seconds),
        give_up=timedelta(hours=config.waiting.give_up_hours),
        clock=clock,
        most_bytes=config.waiting.max_bytes,
        identifies_row=identifies_row,
        told=lambda counts: health.dead_letters(
            counts.open, counts.deferred, max(0, budget - counts.failed)
        ),
    )


def retry_policy(config: Config) -> RetryPolicy:
    """How long a mapping waits, by the settings."""
    return RetryPolicy(
        steps=config.retry_steps,
        maintenance=config.maintenance_seconds,
        tombstone_retention=timedelta(days=config.remember_deletes_days),
        linger=config.batch.max_wait_ms / 1000,
        max_batch_rows=config.batch.max_rows,
        max_bytes=config.batch.max_bytes,
    )


def _feed(config: Config, mapping: str, topic: str) -> Callable[[], Feed]:
    return partial(
        _client(config.kafka.client),
        KafkaConnection.of(config.kafka),
        f"sink.{mapping}",
        topic,
        max_records=config.batch.max_rows,
    )


def _client(name: str) -> Callable[..., Feed]:
    if name == "kafka-python" or (name == "auto" and find_spec("confluent_kafka") is None):
        return KafkaPythonFeed
    try:
        # An extra: it may not be installed.
        from ..kafka.librdkafka import LibrdkafkaFeed  # noqa: PLC0415
    except ImportError as fault:
        raise ConfigError(
            f"kafka.client is {name!r}: pip install 'sink-runner[librdkafka]'"
        ) from fault
    return LibrdkafkaFeed
