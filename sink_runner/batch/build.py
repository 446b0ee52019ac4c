"""Build the pipeline of a mapping's batch run, which needs no Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial

import structlog

from ..config import Config
from ..config.database import find_database
from ..dlq.key_rotation import check_fingerprints
from ..errors import ConfigError
from ..loading import discovery
from ..masking.origins import UNDECIDED
from ..masking.policy import Policies
from ..masking.policy_watch import PolicyWatch
from ..masking.ranger.renewal import watch_policies
from ..model.batch import Batch
from ..model.message import Message
from ..openlineage.datasets import describe
from ..pipeline import MappingSetup, Pipeline, build_pipeline, follow_policies
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog, read_table
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import migrate_database
from ..postgres.session import Connection
from ..preflight.checklist import check_mapping, log_warnings
from ..retry import Retrier, RetryPolicy
from ..schema_check.checker import Sources, check
from ..schema_check.schema_findings import refused
from ..transform.compiled_mapping import compile_mapping
from ..transform.route import Route
from ..writer.candidates import candidate_table
from ..writer.derivation import Derivation
from ..writer.mapping_lock import MappingLock
from .deletions import Deletions
from .keys import TargetKeys
from .plan import BatchPipeline
from .run_store import RunStore
from .snapshot import open_source
from .source import Source, row_source

# The next run retries a deferred row.  Runs may be a day or a month apart, so no limit in hours
# fits.
_NEVER = timedelta(days=36_500)


@contextmanager
def open_pipeline(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    config: Config,
    stop: threading.Event,
) -> Iterator[BatchPipeline]:
    """Check and connect one mapping for the block.

    Raises ConfigError if the configuration has to be changed, RetriableError if a later attempt may
    succeed without a change.
    """
    mapping = plugin.mapping
    assert mapping is not None
    target, connection = _connect(plugin.name, mapping, config)
    with closing(connection):
        with classified_errors():
            source = Source.of(mapping, read_table(connection, mapping.source_table), connection)
        watch = watch_policies(config.policies)
        policies = watch.current()
        _refuse_changes(plugin.name, mapping, config, policies)
        setup = replace(
            MappingSetup.of_config(plugin, plugins, config, policies, target), give_up=_NEVER
        )
        check_fingerprints(setup.target_dsn, plugin.name, setup.encryptor)
        _warn_undecided(setup)
        pipeline = build_pipeline(setup, row_source(source), MappingLock(plugin.name))
        with closing(pipeline), watch.watching(config.policies.refresh_seconds):
            yield _make_pipeline(
                setup, pipeline, source, connection, config=config, watch=watch, stop=stop
            )


def _connect(name: str, mapping: TableMapping, config: Config) -> tuple[TableCatalog, Connection]:
    """Return the target's catalog and a session with the source."""
    with classified_errors():
        migrate_database(find_database(config.databases, mapping.target_table.database).dsn)
        preflight = check_mapping(name, mapping, config)
        log_warnings(preflight.findings)
        _, target = preflight.catalogs(batch=True)
        reader = find_database(config.databases, mapping.source_table.database).reader_dsn
        return target, open_source(reader, name)


def _refuse_changes(name: str, mapping: TableMapping, config: Config, policies: Policies) -> None:
    """Raise ConfigError for the schema changes that would also pause the mapping's events."""
    sources = Sources(policies=policies, strict=config.schema.strict, config=config)
    if findings := refused(check(name, mapping, sources)):
        faults = "\n".join(f"mapping {name!r}: {finding.text}" for finding in findings)
        raise ConfigError(f"{faults}\nsee `sink-runner schema check {name}`")


def _warn_undecided(setup: MappingSetup) -> None:
    for found in setup.origins.sources.values():
        for origin in found:
            if not origin.strict and origin.undecided(setup.policies):
                structlog.get_logger().warning(
                    "column_unclassified",
                    mapping=setup.plugin.name,
                    problem=f"{origin.name} {UNDECIDED}",
                )


def _make_pipeline(
    setup: MappingSetup,
    pipeline: Pipeline,
    source: Source,
    connection: Connection,
    *,
    config: Config,
    watch: PolicyWatch,
    stop: threading.Event,
) -> BatchPipeline:
    name, mapping, compiled = pipeline.name, pipeline.mapping, pipeline.compiled
    table = candidate_table(name) if mapping.derived else setup.target.sql_name
    order = () if mapping.derived else setup.target.index_order.get(frozenset(mapping.key), ())
    keys = TargetKeys(name, mapping, table, compiled.columns, order)
    log = structlog.get_logger().bind(mapping=name)
    encryptor = None if compiled.source_key_unmasked else setup.encryptor
    return BatchPipeline(
        pipeline=pipeline,
        source=source,
        source_dsn=find_database(config.databases, mapping.source_table.database).reader_dsn,
        as_events=_as_events(setup, pipeline, source),
        deletions=Deletions(mapping, source, keys, connection, pipeline.prepare),
        beside=_other_writers(setup),
        derivation=_make_derivation(setup, pipeline, table),
        run_store=RunStore(name, mapping.target, encryptor),
        refresh=follow_policies(setup, pipeline, watch.current),
        chunk_rows=config.batch.max_rows,
        chunk_bytes=config.batch.max_bytes,
        settle_seconds=config.batch.settle_seconds,
        retry=Retrier(RetryPolicy(steps=config.retry_steps, forever=False), stop, log),
        stop=stop,
        describe=partial(describe, setup, watch.current),
    )


def _as_events(
    setup: MappingSetup, pipeline: Pipeline, source: Source
) -> Callable[[Sequence[Message]], Batch]:
    """Return a function that transforms rows as events; it is compiled when it is first called."""

    @cache
    def compile_route() -> Route:
        resolve = pipeline.lookups.resolve
        return compile_mapping(
            setup.plugin,
            setup.plugins,
            setup.target.columns,
            setup.policies,
            replace(row_source(source), is_batch=False),
            origins=setup.origins,
            resolve=resolve,
            resolve_in_target=resolve,
        ).route

    return lambda messages: compile_route().apply(pipeline.decode(messages).events)


def _other_writers(setup: MappingSetup) -> list[str]:
    """Return the other mappings that write the target, unless it is declared as shared."""
    if setup.mapping.shared_target:
        return []
    return sorted(
        plugin.name
        for plugin in setup.plugins
        if plugin is not setup.plugin
        and plugin.mapping is not None
        and plugin.mapping.target == setup.mapping.target
    )


def _make_derivation(setup: MappingSetup, pipeline: Pipeline, table: str) -> Derivation | None:
    mapping = setup.mapping
    if mapping.derived is None:
        return None
    return Derivation(
        mapping=pipeline.name,
        declared=mapping,
        candidates=mapping.derived,
        table=table,
        columns=pipeline.compiled.columns,
        target=setup.target,
    )
