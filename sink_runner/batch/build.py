"""Put together what a run of a mapping's batch form needs; Kafka is no part of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import psycopg
import structlog

from ..config import Config
from ..config.database import find_database
from ..dlq.key_rotation import check_fingerprints
from ..dlq.retry_queue import Waiting
from ..dlq.superseding import identify_rows
from ..errors import ConfigError
from ..loading import discovery
from ..masking.column_origins import read_origins
from ..masking.origins import UNDECIDED, Origins
from ..masking.policy import Policies
from ..masking.policy_reload import Refresh
from ..masking.policy_renewal import watch_policies
from ..masking.policy_watch import PolicyWatch
from ..model.clock import clock
from ..plugin import Strategy, TableMapping
from ..postgres.catalog import TableCatalog, read_table
from ..postgres.error_classes import classify_error
from ..postgres.migrations import migrate_database
from ..postgres.session import Connection
from ..preflight.checklist import check_mapping, log_warnings
from ..schema_check.findings import refused
from ..schema_check.report import Sources, check
from ..transform.compiled_mapping import CompiledMapping, compile_mapping, remask
from ..transform.lookups import Lookups
from ..writer.audit import trail
from ..writer.callback_rows import CallbackRows
from ..writer.candidates import candidate_table
from ..writer.dead_letters import DeadLetters
from ..writer.derivation import Derivation
from ..writer.encryption import build_encryptor
from ..writer.refused_column import RefusedColumn
from ..writer.truncation import truncation
from ..writer.writers import make_writer
from .applier import Alone, BatchApplier
from .deletions import Departures
from .keys import TargetKeys
from .plan import BatchPipeline
from .run_store import Ledger
from .snapshot import open_source
from .source import Source, row_source

# A row is tried again by the next run, of which there may be one a day or none for a month: in
# hours it can't be told whether it has waited for too long.
_NEVER = timedelta(days=36_500)


@contextmanager
def tools(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    config: Config,
    stop: threading.Event,
) -> Iterator[BatchPipeline]:
    """Check and connect everything for one mapping.

    Raises ConfigError for what a person must mend, RetriableError for what may come back.
    """
    mapping = plugin.mapping
    assert mapping is not None
    try:
        migrate_database(find_database(config.databases, mapping.target_table.database).dsn)
        preflight = check_mapping(plugin.name, mapping, config)
        log_warnings(preflight.findings)
        _, target = preflight.catalogs(batch=True)
        reader = find_database(config.databases, mapping.source_table.database).reader_dsn
        asking = open_source(reader, plugin.name)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    with closing(asking):
        try:
            source = Source.of(mapping, read_table(asking, mapping.source_table), asking)
        except psycopg.Error as fault:
            raise classify_error(fault) from fault
        watch = watch_policies(config.policies)
        policies = watch.current()
        _refuse_harm(plugin.name, mapping, config, policies)
        lookups = Lookups(mapping.columns, config.readers, mapping=mapping)
        with closing(lookups), watch.watching(config.policies.refresh_seconds):
            around = _Around(plugin, plugins, config, source, target, policies, watch)
            parts = _parts(around, lookups)
            yield _tools(around, parts, asking, stop)


def _refuse_harm(name: str, mapping: TableMapping, config: Config, policies: Policies) -> None:
    """What pauses the mapping's events must not come by its batch instead."""
    sources = Sources(policies=policies, strict=config.schema.strict, config=config)
    if harm := refused(check(name, mapping, sources)):
        told = "\n".join(f"mapping {name!r}: {finding.text}" for finding in harm)
        raise ConfigError(f"{told}\nsee `sink-runner schema check {name}`")


def _warn_undecided(name: str, origins: Origins, policies: Policies) -> None:
    for found in origins.sources.values():
        for origin in found:
            if not origin.strict and origin.undecided(policies):
                problem = f"{origin.name} {UNDECIDED}"
                structlog.get_logger().warning("column_unclassified", mapping=name, problem=problem)


class _Around(NamedTuple):
    """A mapping, and what is known before it is put together."""

    plugin: discovery.Plugin
    plugins: Sequence[discovery.Plugin]
    config: Config
    source: Source
    target: TableCatalog
    policies: Policies
    watch: PolicyWatch


def _parts(around: _Around, lookups: Lookups) -> CompiledMapping:
    plugin, plugins, config, source, target, policies, _ = around
    mapping = source.mapping
    origins = read_origins(mapping, config.readers, strict=config.schema.strict)
    _warn_undecided(plugin.name, origins, policies)
    return compile_mapping(
        plugin,
        plugins,
        target.columns,
        policies,
        row_source(source),
        origins=origins,
        resolve=lookups.resolve,
        resolve_in_target=lookups.resolve,
    )


def _tools(
    around: _Around, parts: CompiledMapping, asking: Connection, stop: threading.Event
) -> BatchPipeline:
    plugin, plugins, config, source, target, policies, watch = around
    mapping = source.mapping
    encryptor = build_encryptor(config)
    dsn = find_database(config.databases, mapping.target_table.database).dsn
    check_fingerprints(dsn, plugin.name, encryptor)
    audited = trail(plugin.name, mapping, parts, encryptor)
    writer = make_writer(plugin.name, mapping, parts, target, audited)
    applier = BatchApplier(
        plugin.name,
        dsn=dsn,
        writer=writer,
        lookups=parts.target_lookups,
        callbacks=CallbackRows(plugin.name, mapping, parts.columns),
        truncation=truncation(plugin.name, mapping, writer),
        refused=RefusedColumn(parts.columns, {n: c.pg for n, c in target.columns.items()}),
        offsets=Alone(plugin.name),
        dead_letters=DeadLetters(plugin.name, plugin.version, encryptor),
        clock=clock,
        timeout=config.batch.timeout_seconds,
        trail=audited,
        table=mapping.target_table,
    )
    waiting = Waiting(
        plugin.name,
        applier=applier,
        encryptor=encryptor,
        retry=timedelta(seconds=config.waiting.retry_seconds),
        give_up=_NEVER,
        clock=clock,
        most_bytes=config.waiting.max_bytes,
        identifies_row=identify_rows(mapping, parts.chain, source.format.key),
    )
    table = candidate_table(plugin.name) if mapping.derived else target.sql_name
    order = () if mapping.derived else target.index_order.get(frozenset(mapping.key), ())
    keys = TargetKeys(plugin.name, mapping, table, parts.columns, order)
    return BatchPipeline(
        name=plugin.name,
        mapping=mapping,
        source=source,
        source_dsn=find_database(config.databases, mapping.source_table.database).reader_dsn,
        route=parts.route,
        applier=applier,
        waiting=waiting,
        departures=Departures(mapping, source, keys, asking),
        declared=not (parts.chain.decides_writes or parts.route.reads_target),
        key_shown=_key_shown(source, parts),
        maps_rows=bool(parts.chain.maps or parts.chain.masks),
        ties=mapping.streaming
        and mapping.conflict.strategy is Strategy.NEWEST_WINS
        and not writer.keeps_positions,
        beside=_writers_beside(around),
        touch_orphans=_touch_orphans(around, table, parts),
        ledger=Ledger(plugin.name, mapping.target, None if parts.source_key_shown else encryptor),
        hooks=parts.hooks,
        refresh=Refresh(
            policies, watch.current, partial(remask, parts, plugin, plugins, target.columns)
        ),
        chunk_rows=config.batch.max_rows,
        chunk_bytes=config.batch.max_bytes,
        settle_seconds=config.batch.settle_seconds,
        retry_steps=config.retry_steps,
        stop=stop,
    )


def _writers_beside(around: _Around) -> list[str]:
    mine = around.source.mapping
    if mine.shared_target:
        return []
    return sorted(
        plugin.name
        for plugin in around.plugins
        if plugin is not around.plugin
        and plugin.mapping is not None
        and plugin.mapping.target == mine.target
    )


def _key_shown(source: Source, parts: CompiledMapping) -> bool:
    """Is the key that rows are read by nobody's, as far as the mapping carries it?"""
    columns = [column for column in source.mapping.columns if column.name in parts.shown]
    return {name for column in columns for name in column.sources}.issuperset(source.format.key)


def _touch_orphans(around: _Around, table: str, parts: CompiledMapping) -> str | None:
    """Notes the groups of the target that come from no candidate; None without candidates."""
    mapping = around.source.mapping
    if mapping.derived is None:
        return None
    return Derivation(
        mapping=around.plugin.name,
        declared=mapping,
        candidates=mapping.derived,
        table=table,
        columns=parts.columns,
        target=around.target,
    ).touch_orphans
