"""Check and connect a mapping, and build its worker, before any row moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..avro.schema_cache import SchemaCache
from ..config import Config
from ..config.database import Database, find_database
from ..control.store import Wanted
from ..dlq.deferred_events import Counts
from ..dlq.key_rotation import check_fingerprints
from ..errors import ConfigError
from ..kafka.connection import KafkaConnection
from ..kafka.feed import Feed
from ..kafka.kafka_python import KafkaPythonFeed
from ..kafka.liveness import BrokerLiveness
from ..kafka.offset_queries import epoch_end
from ..kafka.topic_identity import TopicWatch, identify
from ..loading import discovery
from ..masking.policy import Policies
from ..model.findings import refuse
from ..model.partition import Topic
from ..model.status import Health, MappingHealth
from ..openlineage.client import LineageClient, track
from ..openlineage.datasets import describe
from ..openlineage.events import Job, JobKind
from ..pipeline import MappingSetup, Pipeline, Tracer, build_pipeline, follow_policies
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.migrations import migrate_database
from ..preflight.checklist import check_mapping, check_topic, log_warnings
from ..preflight.source_cluster import ClusterWatch
from ..preflight.source_watch import SourceWatch
from ..reconcile.samples import SampleQueue
from ..retry import RetryPolicy
from ..schema_check.factory import watch as schema_watch
from ..schema_check.schema_watch import SchemaWatch
from ..transform.event_source import topic_source
from ..writer.budget import Budget
from ..writer.echo_guard import EchoGuard
from ..writer.offsets import Offsets
from .control_link import WantedOf, runner_name
from .reporter import BatchTraces, Observers
from .worker import Worker
from .worker_settings import WorkerSettings

if TYPE_CHECKING:
    from .trace_export import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeContext:
    """What all mappings of a runner share."""

    config: Config
    policies: Callable[[], Policies]
    """Returns the policies that are in force."""
    schemas: SchemaCache
    plugins: Sequence[discovery.Plugin]
    stop: threading.Event
    health: Health = field(default_factory=Health)
    lineage: LineageClient | None = None
    wanted_of: WantedOf = lambda _mapping: Wanted()
    """Returns what operators want of a mapping."""
    traces: Traces | None = None
    samples: SampleQueue | None = None
    """The rows that are compared after they were written."""

    def source(self, mapping: TableMapping) -> Database:
        return find_database(self.config.databases, mapping.source_table.database)

    def target(self, mapping: TableMapping) -> Database:
        return find_database(self.config.databases, mapping.target_table.database)


def build_worker(plugin: discovery.Plugin, context: RuntimeContext) -> Worker:
    """Check and connect one mapping.

    Raises ConfigError if the configuration has to be changed, RetriableError if a later attempt may
    succeed without a change.
    """
    mapping, config = plugin.mapping, context.config
    assert mapping is not None
    migrate_database(context.target(mapping).dsn)
    schemas = schema_watch(plugin.name, mapping, config, context.policies, context.schemas)
    source_watch = _watch_source(plugin.name, mapping, context, schemas)
    source, target = _check(plugin.name, mapping, context, schemas)
    clusters = _watch_clusters(plugin.name, mapping, context)
    kafka, topic_name = KafkaConnection.of(config.kafka), mapping.source_table.topic
    topic = identify(kafka, topic_name)
    setup = MappingSetup.of_config(plugin, context.plugins, config, context.policies(), target)
    check_fingerprints(setup.target_dsn, plugin.name, setup.encryptor)
    traces = context.traces.of_mapping(plugin.name, mapping) if context.traces else None
    pipeline = _build_pipeline(setup, context, source, schemas, topic, tracer=traces)
    health = context.health.mapping(plugin.name)
    lineage = track(
        context.lineage,
        Job(JobKind.STREAMING, plugin.name),
        partial(describe, setup, context.policies),
    )
    return Worker(
        pipeline,
        topic_watch=TopicWatch(
            plugin.name,
            topic,
            partial(identify, kafka, topic_name),
            partial(epoch_end, kafka, topic_name),
        ),
        feed=schemas.before(_make_feed(config, plugin.name, topic_name)),
        liveness=BrokerLiveness(health),
        refresh=follow_policies(setup, pipeline, context.policies),
        settings=_settings(config),
        health=health,
        stop=context.stop,
        watches=(clusters, source_watch),
        wanted=partial(context.wanted_of, plugin.name),
        observers=_make_observers(plugin.name, context, lineage, traces),
    )


def _make_observers(
    name: str,
    context: RuntimeContext,
    lineage: AbstractContextManager[object],
    traces: BatchTraces | None,
) -> Observers:
    if context.samples is None:
        return Observers(lineage, traces)
    return Observers(lineage, traces, partial(context.samples.offer, name))


# -- checks ------------------------------------------------------------------------------------


def _watch_source(
    name: str, mapping: TableMapping, context: RuntimeContext, schemas: SchemaWatch
) -> SourceWatch:
    watch = SourceWatch(
        name,
        mapping,
        source=context.source(mapping).reader_dsn,
        check=lambda: check_mapping(
            name, mapping, context.config, known=schemas.known()
        ).catalogs(),
    )
    watch.start()
    return watch


def _watch_clusters(name: str, mapping: TableMapping, context: RuntimeContext) -> ClusterWatch:
    watch = ClusterWatch(
        name,
        mapping.source_table.database,
        source=context.source(mapping).reader_dsn,
        target=context.target(mapping).dsn,
    )
    watch.check()
    return watch


def _check(
    name: str, mapping: TableMapping, context: RuntimeContext, schemas: SchemaWatch
) -> tuple[TableCatalog, TableCatalog]:
    """Return the catalogs of source and target.  Raises ConfigError with all that is refused."""
    beside = discovery.streaming(context.plugins)
    preflight = check_mapping(name, mapping, context.config, known=schemas.known(), beside=beside)
    findings = [*preflight.findings]
    try:
        findings += check_topic(name, mapping, context.config)
    finally:  # report the faults of the databases even if Kafka does not answer
        refuse(findings)
    log_warnings(findings)
    return preflight.catalogs()


# -- the pipeline ------------------------------------------------------------------------------


def _build_pipeline(
    setup: MappingSetup,
    context: RuntimeContext,
    source: TableCatalog,
    schemas: SchemaWatch,
    topic: Topic,
    *,
    tracer: Tracer | None,
) -> Pipeline:
    """Build the pipeline of a mapping that reads its topic."""
    name, mapping, config = setup.plugin.name, setup.mapping, context.config
    limits = config.dead_letters
    events = topic_source(
        mapping,
        source,
        values=schemas,
        keys=context.schemas,
        placeholder=config.capture.placeholder,
    )
    return build_pipeline(
        setup,
        events,
        Offsets(name, topic, runner_name()),
        budget=Budget(name, limits.budget, limits.budget_share),
        policy_digest=lambda: context.policies().digest,
        is_echo=EchoGuard(context.source(mapping).dsn, mapping.target_table.topic),
        report_counts=partial(_report_counts, context.health.mapping(name), limits.budget),
        tracer=tracer,
    )


def _report_counts(health: MappingHealth, budget: int, counts: Counts) -> None:
    health.dead_letters(counts.open, counts.deferred, max(0, budget - counts.failed))


# -- settings ----------------------------------------------------------------------------------


def retry_policy(config: Config) -> RetryPolicy:
    """Return the retry policy of a worker: it never gives up."""
    return RetryPolicy(steps=config.retry_steps, forever=True)


def _settings(config: Config) -> WorkerSettings:
    return WorkerSettings(
        retry=retry_policy(config),
        maintenance_seconds=config.maintenance_seconds,
        tombstone_retention=timedelta(days=config.remember_deletes_days),
        linger=config.batch.max_wait_ms / 1000,
        max_batch_rows=config.batch.max_rows,
        max_bytes=config.batch.max_bytes,
    )


def _make_feed(config: Config, mapping: str, topic: str) -> Callable[[], Feed]:
    return partial(
        _feed_class(config.kafka.client),
        KafkaConnection.of(config.kafka),
        f"sink.{mapping}",
        topic,
        max_records=config.batch.max_rows,
    )


def _feed_class(name: str) -> Callable[..., Feed]:
    if name == "kafka-python" or (name == "auto" and find_spec("confluent_kafka") is None):
        return KafkaPythonFeed
    try:
        # The package is optional: it may not be installed.
        from ..kafka.librdkafka import LibrdkafkaFeed  # noqa: PLC0415
    except ImportError as fault:
        raise ConfigError(
            f"kafka.client is {name!r}: pip install 'sink-runner[librdkafka]'"
        ) from fault
    return LibrdkafkaFeed
