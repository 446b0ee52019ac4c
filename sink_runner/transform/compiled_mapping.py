"""Compile a mapping: the steps of its plugins, and its columns with their types and masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, PolicyError
from ..loading import discovery
from ..loading.hooks import Hooks
from ..masking.leaks import hidden_sources
from ..masking.lineage import carried
from ..masking.origins import NOT_READ, Origins
from ..masking.policy import ColumnName, Policies
from ..masking.principals import group_principal
from ..masking.round_trip_check import refuse_returns
from ..model.batch import Masking
from ..plugin import Column, Context, Delete, SetColumns, Table, TableMapping
from ..postgres.catalog import CatalogColumn, stage_type
from ..postgres.declared_types import declared_type
from ..postgres.target_column import Converter, TargetColumn, staged
from .event_source import EventSource
from .key_identity import KeyIdentity
from .lookup_step import Resolver
from .route import Route
from .steps import Chain
from .target_lookups import ResolveInTarget, TargetLookups


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping whose steps and columns are compiled."""

    columns: Sequence[TargetColumn]
    chain: Chain
    route: Route
    hooks: Hooks
    unmasked: frozenset[str] = frozenset()
    """The columns without personal data, whose values reports may contain."""
    identity: KeyIdentity = KeyIdentity.SOURCE_ROW
    """Which source rows the target's keys come from."""
    origins: Origins = NOT_READ
    """The origins of the values, as the databases reported at the start."""
    source_key: Collection[str] = ()
    """The source's key columns."""
    source_key_unmasked: bool = False
    """Whether reports may contain the values of the source key: none of its columns is personal."""

    @property
    def target_lookups(self) -> TargetLookups | None:
        """The lookups to run in the write transaction; None if the mapping has none."""
        return self.route if self.route.reads_target else None


def compile_mapping(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    catalog: Mapping[str, CatalogColumn],
    policies: Policies,
    source: EventSource,
    *,
    origins: Origins,
    resolve: Resolver,
    resolve_in_target: ResolveInTarget | None = None,
    trace: Callable[[Chain], Chain] = lambda chain: chain,
    is_echo: Callable[[str], bool] = lambda _origin: False,
) -> CompiledMapping:
    """Compile the steps and the columns of a mapping.

    `catalog` has the columns of the target.  `origins` are the origins of the values, NOT_READ in
    tests without a database.  `resolve_in_target` runs the lookups that read the target itself, in
    the write transaction; without it `resolve` runs all lookups.  `trace` may wrap the steps of the
    chain.  `is_echo` gets the replication origin of another process and returns whether its changes
    come from this mapping's target.
    """
    mapping = plugin.mapping
    assert mapping is not None
    columns = target_columns(mapping, catalog, policies, origins)
    echoes = _echoes(mapping, plugins)
    refuse_returns(plugin.name, mappings_of(plugins), policies, origins)
    _refuse_deletes(plugin.name, mapping, echoes)
    manager = discovery.manager_for(plugin, plugins)
    contexts = _contexts(manager.list_name_plugin(), mapping, plugins, batch=source.is_batch)
    chain = trace(Chain.from_manager(manager, contexts))
    owned = source.own(chain, {column.name: column.pg for column in columns})
    route = Route(
        mapping,
        columns,
        chain,
        shape_of=source.shape_of,
        resolve=resolve,
        subject=source.subject,
        echoes=echoes,
        feeds=is_echo,
        masking=_masking(mapping, columns, chain, policies, origins),
        resolve_in_target=resolve_in_target,
        owner_of=owned.owner_of,
        removal=source.removal,
    )
    unmasked = _unmasked_columns(mapping, policies, origins)
    return CompiledMapping(
        columns,
        chain,
        route,
        Hooks(manager, contexts),
        unmasked,
        owned.identity,
        origins,
        source.source_key,
        _is_key_unmasked(mapping, policies, unmasked, source.source_key),
    )


def remask(
    compiled: CompiledMapping,
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    catalog: Mapping[str, CatalogColumn],
    policies: Policies,
) -> None:
    """Mask by other policies from the next batch on.

    Raises ConfigError where `compile_mapping` would.
    """
    mapping = plugin.mapping
    assert mapping is not None
    refuse_returns(plugin.name, mappings_of(plugins), policies, compiled.origins)
    columns = target_columns(mapping, catalog, policies, compiled.origins)
    unmasked = _unmasked_columns(mapping, policies, compiled.origins)
    personal = compiled.unmasked - unmasked
    if compiled.source_key_unmasked and not _is_key_unmasked(
        mapping, policies, unmasked, compiled.source_key
    ):
        personal |= set(compiled.source_key)
    if personal:
        raise ConfigError(
            f"columns of {mapping.target} have become personal: {', '.join(sorted(personal))}; "
            "start the runner again, so that logs, reports and dead letters leave them out"
        )
    masking = _masking(mapping, columns, compiled.chain, policies, compiled.origins)
    compiled.route.remask(columns, masking)


# -- columns -----------------------------------------------------------------------------------


def target_columns(
    mapping: TableMapping,
    catalog: Mapping[str, CatalogColumn],
    policies: Policies,
    origins: Origins = NOT_READ,
) -> list[TargetColumn]:
    """Return the staged columns with their types and masks.

    Raises a PolicyError that names every personal column without a policy.
    """
    made, faults = [], []
    for column in staged(mapping.columns):
        type_ = column.type if mapping.derived else catalog[column.name].type
        assert type_ is not None
        pg = declared_type(type_) if mapping.derived else catalog[column.name].pg
        try:
            mask = _mask(mapping, column, policies, origins)
        except PolicyError as fault:
            faults.append(str(fault))
            continue
        made.append(TargetColumn(column, type_, stage_type(pg), mask, pg))
    if faults:
        raise PolicyError("\n".join(dict.fromkeys(faults)))
    return made


def _mask(
    mapping: TableMapping, column: Column, policies: Policies, origins: Origins
) -> Converter | None:
    """Return the mask that the policies demand for a column of the target.

    The principal is the group that has the name of the target's database.
    """
    principal = group_principal(mapping.target_table.database)
    masks = [origin.decide(policies, principal) for origin in carried(mapping, column, origins)]
    found = {
        (mask.kind, mask.expression): mask.function
        for mask in masks
        if mask is not None and mask.function is not None
    }
    if len(found) > 1:
        raise ConfigError(
            f"column {column.name!r} of {mapping.target} comes from several masked columns"
        )
    return next(iter(found.values()), None)


def _masking(
    mapping: TableMapping,
    columns: Iterable[TargetColumn],
    chain: Chain,
    policies: Policies,
    origins: Origins,
) -> Masking:
    masked = tuple(column.name for column in columns if column.mask is not None)
    hooked = chain.filters or chain.maps
    hidden = hidden_sources(mapping, policies, origins) if hooked else None
    return Masking(policies.version, policies.digest, masked, hidden)


def _unmasked_columns(
    mapping: TableMapping, policies: Policies, origins: Origins
) -> frozenset[str]:
    """Return the target's columns that are personal on neither side."""
    target = mapping.target_table
    return frozenset(
        column.name
        for column in mapping.columns
        if not _hides(policies, target, [column.name])
        and not any(
            policies.hides(name)
            for origin in [
                *carried(mapping, column, origins),
                *(it for name in column.sources for it in origins.of_source(mapping, name)),
            ]
            for name in origin.path
        )
    )


def _is_key_unmasked(
    mapping: TableMapping, policies: Policies, unmasked: Collection[str], key: Collection[str]
) -> bool:
    """Return whether no column of the source's key is personal or becomes so in the target."""
    hidden = {
        n for column in mapping.columns if column.name not in unmasked for n in column.sources
    }
    free = hidden.isdisjoint(key) and not _hides(policies, mapping.source_table, key)
    return bool(key) and free


def _hides(policies: Policies, table: Table, columns: Iterable[str]) -> bool:
    place = table.database, table.schema, table.name
    return any(policies.hides(ColumnName(*place, column)) for column in columns)


def mappings_of(plugins: Iterable[discovery.Plugin]) -> dict[str, TableMapping]:
    return {plugin.name: plugin.mapping for plugin in plugins if plugin.mapping is not None}


def _echoes(mapping: TableMapping, plugins: Iterable[discovery.Plugin]) -> frozenset[str]:
    """Return the mappings whose writes this mapping would copy back to their source."""
    return frozenset(
        plugin.name
        for plugin in plugins
        if plugin.mapping is not None
        and plugin.mapping.source == mapping.target
        and plugin.mapping.target == mapping.source
    )


def _refuse_deletes(name: str, mapping: TableMapping, echoes: Iterable[str]) -> None:
    """Raise ConfigError if a deleted row would look like one that has not arrived yet."""
    for other in echoes:
        if isinstance(mapping.on_delete, Delete | SetColumns):
            raise ConfigError(
                f"mappings {name!r} and {other!r} feed each other: a row that is deleted here "
                "while it is changed there would stay in one database alone; declare "
                "on_delete=Review() or Ignore(), and delete by a column that both carry"
            )


# -- parts -------------------------------------------------------------------------------------


def _contexts(
    members: Iterable[tuple[str, Any]],
    mapping: TableMapping,
    plugins: Iterable[discovery.Plugin],
    *,
    batch: bool,
) -> dict[str, Context]:
    configs = {plugin.name: plugin.config for plugin in plugins}
    return {
        name: Context(plugin=name, mapping=mapping, config=configs.get(name), batch=batch)
        for name, _ in members
    }
