"""Put one mapping's parts together, checking all that can be checked before any row moves."""

from __future__ import annotations

import base64
import binascii
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg

from . import registry
from .applier import Applier, RowWriter
from .avro import EnvelopeDecoder, KeyDecoder
from .candidates import CandidateWriter, candidate_table
from .catalog import CatalogColumn, TableCatalog, read_table
from .chain import Chain
from .changes import VersionOf
from .config import Config, Database
from .dead_letter import DeadLetters, Message, Sealer
from .envelope import Kind
from .errors import ConfigError
from .faults import judge
from .feed import Feed, identify
from .hooks import Hooks
from .incoming import Shape
from .lookups import Lookups
from .offsets import Offsets
from .plugin import Column, Context, SyncTime, Table, TableMapping
from .policy import Policies
from .route import HEADER, Resolver, Route
from .row import Converter, SourceColumn, TargetColumn, staged
from .schema_registry import SchemaRegistry
from .statements import Statements
from .target import connect, create_control_tables
from .worker import Patience, Worker
from .writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all mappings of a runner share."""

    config: Config
    policies: Policies
    schemas: SchemaRegistry
    plugins: Sequence[registry.Plugin]
    stop: threading.Event

    def database(self, name: str) -> Database:
        try:
            return self.config.databases[name]
        except KeyError:
            known = ", ".join(sorted(self.config.databases))
            raise ConfigError(f"[databases.{name}] is missing; there is {known}") from None


def clock() -> datetime:
    """Now, as the databases' columns without zone hold it: UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def build(plugin: registry.Plugin, around: Surroundings) -> Worker:
    """Check and connect everything for one mapping.

    Raises ConfigError for what a person must mend, RetriableError for what may come back.
    """
    mapping = plugin.mapping
    assert mapping is not None
    target = _read(around.database(mapping.target_table.database).dsn, mapping.target, init=True)
    source = _read(around.database(mapping.source_table.database).reader_dsn, mapping.source)
    _check_target(mapping, target)
    _check_source(mapping, source)
    lookups = Lookups(mapping.columns, {n: d.dsn for n, d in around.config.databases.items()})
    keys = KeyDecoder(around.schemas, sorted(source.primary_key))
    decoder = EnvelopeDecoder(
        around.schemas, after=mapping.source_columns, before=wanted_before(mapping)
    )
    parts = assemble(
        plugin,
        around.plugins,
        target.columns,
        around.policies,
        shape_of=partial(_shape, decoder, mapping, source),
        resolve=lookups.resolve,
        subject=lambda message: ",".join(str(part) for part in keys.decode(message.key)),
    )
    config = around.config
    topic = identify(config.kafka.bootstrap, mapping.source)
    return Worker(
        plugin.name,
        feed=_feed(config, plugin.name, mapping.source),
        decoder=decoder,
        route=parts.route,
        applier=Applier(
            plugin.name,
            dsn=around.database(mapping.target_table.database).dsn,
            writer=make_writer(plugin.name, mapping, parts.columns, target),
            offsets=Offsets(plugin.name, topic, f"{socket.gethostname()}:{os.getpid()}"),
            dead_letters=DeadLetters(plugin.name, plugin.version, sealer(config)),
            clock=clock,
        ),
        hooks=parts.hooks,
        patience=Patience(
            steps=config.retry_steps,
            maintenance=config.maintenance_seconds,
            remember=timedelta(days=config.remember_deletes_days),
        ),
        stop=around.stop,
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """What a mapping is made of, apart from Kafka and the databases."""

    columns: Sequence[TargetColumn]
    chain: Chain
    route: Route
    hooks: Hooks


def assemble(
    plugin: registry.Plugin,
    plugins: Sequence[registry.Plugin],
    catalog: Mapping[str, CatalogColumn],
    policies: Policies,
    *,
    shape_of: Callable[[bytes], Shape],
    resolve: Resolver,
    subject: Callable[[Message], str],
) -> Parts:
    """Freeze the mapping's plugins and compile its columns."""
    mapping = plugin.mapping
    assert mapping is not None
    columns = target_columns(mapping, catalog, policies)
    manager = registry.manager_for(plugin, plugins)
    contexts = _contexts(manager.list_name_plugin(), mapping, plugins)
    chain = Chain.from_manager(manager, contexts)
    route = Route(
        mapping,
        columns,
        chain,
        shape_of=shape_of,
        resolve=resolve,
        subject=subject,
        echoes=_echoes(mapping, plugins),
    )
    return Parts(columns, chain, route, Hooks(manager, contexts))


def _feed(config: Config, mapping: str, topic: str) -> Callable[[], Feed]:
    return partial(
        Feed,
        config.kafka.bootstrap,
        f"sink.{mapping}",
        topic,
        max_records=config.batch.max_rows,
    )


def sealer(config: Config) -> Sealer:
    """The dead letters' encryption, from the configured key."""
    try:
        key = base64.b64decode(config.dead_letters.key, validate=True)
    except binascii.Error as fault:
        raise ConfigError("dead_letters.key is not base64") from fault
    return Sealer(key, config.dead_letters.key_id)


# -- columns -----------------------------------------------------------------------------------


def target_columns(
    mapping: TableMapping, catalog: Mapping[str, CatalogColumn], policies: Policies
) -> list[TargetColumn]:
    """The staged columns with their types and masks; a personal column without one is refused."""
    made = []
    for column in staged(mapping.columns):
        type_ = column.type if mapping.candidates else catalog[column.name].type
        assert type_ is not None
        stage = CatalogColumn(column.name, type_, nullable=True).stage_type
        made.append(TargetColumn(column, type_, stage, _mask(mapping, column, policies)))
    return made


def _mask(mapping: TableMapping, column: Column, policies: Policies) -> Converter | None:
    """The mask that the policies give the column's sources on their way to the target.

    The group that reads a target is named like its database.
    """
    if column.lookup is not None:
        return None  # what is looked up never reaches the target
    source, group = mapping.source_table, mapping.target_table.database
    masks = [
        mask.function
        for name in column.sources
        if (
            mask := policies.mask_for_target(
                source.database, source.schema, source.name, name, group
            )
        )
    ]
    found = [mask for mask in masks if mask is not None]
    if len(found) > 1:
        raise ConfigError(
            f"column {column.name!r} of {mapping.target} comes from several masked columns"
        )
    return found[0] if found else None


def _shape(
    decoder: EnvelopeDecoder, mapping: TableMapping, source: TableCatalog, value: bytes
) -> Shape:
    """What the decoded rows of a message's schema hold."""
    kinds = decoder.plan(int.from_bytes(value[1:HEADER])).row.columns

    def columns(names: Iterable[str]) -> list[SourceColumn]:
        return [
            SourceColumn(name, kinds[name].kind if name in kinds else Kind.OPAQUE, _type(name))
            for name in names
        ]

    def _type(name: str) -> str | None:
        return source.columns[name].type if name in source.columns else None

    return Shape(columns(mapping.source_columns), columns(wanted_before(mapping)))


def wanted_before(mapping: TableMapping) -> tuple[str, ...]:
    if mapping.old_row:
        return mapping.source_columns
    key = mapping.candidates.key if mapping.candidates else mapping.key
    used = [name for c in mapping.columns if c.name in key for name in c.sources]
    return tuple(dict.fromkeys(used))


# -- checks against both catalogs --------------------------------------------------------------


def _read(dsn: str, table: str, *, init: bool = False) -> TableCatalog:
    try:
        with connect(dsn, "sink-runner start") as connection:
            if init:
                create_control_tables(connection)
            return read_table(connection, Table.parse(table))
    except psycopg.Error as fault:
        raise judge(fault) from fault


def _check_target(mapping: TableMapping, target: TableCatalog) -> None:
    declared = {column.name for column in mapping.columns}
    missing = [] if mapping.candidates else sorted(declared - target.columns.keys())
    if missing:
        raise ConfigError(f"{mapping.target} has no column {', '.join(missing)}")
    if frozenset(mapping.key) not in target.unique:
        raise ConfigError(
            f"{mapping.target} has no unique constraint on ({', '.join(mapping.key)})"
        )


def _check_source(mapping: TableMapping, source: TableCatalog) -> None:
    missing = sorted(set(mapping.source_columns) - source.columns.keys())
    if missing:
        raise ConfigError(f"{mapping.source} has no column {', '.join(missing)}")
    if mapping.old_row and not source.full_identity:
        raise ConfigError(
            f"the mapping needs the old row: ALTER TABLE {source.sql_name} REPLICA IDENTITY FULL"
        )
    beyond = sorted(set(wanted_before(mapping)) - source.primary_key)
    if beyond and not source.full_identity:
        raise ConfigError(
            f"a delete in {mapping.source} does not carry {', '.join(beyond)}, which the target's "
            f"key needs: ALTER TABLE {source.sql_name} REPLICA IDENTITY FULL"
        )


def _echoes(mapping: TableMapping, plugins: Iterable[registry.Plugin]) -> frozenset[str]:
    """The mappings whose writes this one would only carry back to where they came from."""
    return frozenset(
        plugin.name
        for plugin in plugins
        if plugin.mapping is not None
        and plugin.mapping.source == mapping.target
        and plugin.mapping.target == mapping.source
    )


# -- parts -------------------------------------------------------------------------------------


def _contexts(
    members: Iterable[tuple[str, Any]], mapping: TableMapping, plugins: Iterable[registry.Plugin]
) -> dict[str, Context]:
    configs = {plugin.name: plugin.config for plugin in plugins}
    return {
        name: Context(plugin=name, mapping=mapping, config=configs.get(name)) for name, _ in members
    }


def make_writer(
    name: str, mapping: TableMapping, columns: Sequence[TargetColumn], target: TableCatalog
) -> RowWriter:
    candidates = mapping.candidates
    statements = Statements(
        mapping=name,
        target=candidate_table(name) if candidates else target.sql_name,
        columns=columns,
        key=candidates.key if candidates else mapping.key,
        conflict=mapping.conflict,
        unstaged=[c for c in mapping.columns if isinstance(c.source, SyncTime)],
        positioned=candidates is not None,
    )
    system = mapping.source_table.database.removeprefix("smart_")
    writer = Writer(mapping, statements, _version_of(mapping, columns), source_system=system)
    if candidates is None:
        return writer
    return CandidateWriter(mapping, statements, target, writer)


def _version_of(mapping: TableMapping, columns: Sequence[TargetColumn]) -> VersionOf | None:
    """What to compare two staged rows of a batch by."""
    for at, column in enumerate(columns):
        if column.name == mapping.conflict.version:
            read = _moment if column.stage_type == "text" else _number
            return lambda values: read(values[at])
    return None


def _number(value: float | None) -> tuple[bool, float]:
    return (value is not None, value or 0)


def _moment(value: str | None) -> tuple[bool, datetime]:
    """NULL is oldest; what is no date of this calendar is infinity."""
    if value is None:
        return (False, datetime.min.replace(tzinfo=UTC))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return (True, datetime.max.replace(tzinfo=UTC))
    return (True, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
