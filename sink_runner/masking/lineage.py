"""Trace columns from source to target: what each is made of, and what a principal sees of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ..errors import PolicyError
from ..plugin import Column, Constant, FirstOf, SyncTime, TableMapping
from .origins import NOT_READ, Origin, Origins
from .policy import ColumnName, Mask, Policies
from .principals import Principal, group_principal

HIDDEN = "hidden"
_WORD = re.compile(r"\w+")
Known = Mapping[str, Origins]
"""The origins of the mappings whose databases were read."""
NOTHING_KNOWN: Known = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A source column, the target column that it fills, and what a principal sees of it."""

    mapping: str
    source: ColumnName
    target: ColumnName
    principal: Principal
    tags: frozenset[str]
    mask: Mask | None = None
    fault: str = ""
    named: bool = False
    """Whether any policy names the column."""

    @property
    def concerns(self) -> bool:
        """Whether the column is personal or named by a policy."""
        return self.named or bool(self.tags)

    @property
    def is_masked(self) -> bool:
        """Whether the principal does not get the value as it is."""
        return bool(self.fault) or (self.mask is not None and self.mask.function is not None)

    @property
    def seen(self) -> str:
        """The mask that the principal gets, with its expression."""
        if self.fault:
            return HIDDEN
        if self.mask is None:
            return "as it is"
        return self.mask.expression or self.mask.kind.value


def lines(
    mappings: Mapping[str, TableMapping],
    policies: Policies,
    principal: Principal | None = None,
    *,
    origins: Known = NOTHING_KNOWN,
) -> list[Line]:
    """Return every column whose value reaches the target, for the target's group or `principal`.

    A column that is only a lookup's input is left out.
    """
    making = _Making(policies, principal)
    return [
        making.line(name, mapping, column, origin)
        for name, mapping in mappings.items()
        for column in mapping.columns
        for origin in carried(mapping, column, origins.get(name, NOT_READ))
    ]


class Input(NamedTuple):
    """A column that the value of a target column depends on."""

    source: ColumnName
    mask: str = ""
    """The mask that the target's group gets; "" for a value that is written as it is."""
    is_value: bool = True
    """False if the value itself does not reach the target: it only finds a lookup's row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLineage:
    """What the value of a target column is made of.  Names only: never a value."""

    target: str
    inputs: tuple[Input, ...] = ()
    steps: tuple[str, ...] = ()
    """What is done to the value, in order, apart from the masks."""

    @property
    def masks(self) -> tuple[str, ...]:
        """The masks of the inputs, each once."""
        return tuple(dict.fromkeys(one.mask for one in self.inputs if one.mask))


def column_lineage(
    mapping: TableMapping,
    policies: Policies,
    origins: Origins = NOT_READ,
    derived: Iterable[str] = (),
) -> list[ColumnLineage]:
    """Return the lineage of every target column that the mapping writes.

    `derived` are the columns of the target of a mapping with `Derived`; those that its SQL does not
    name are left out.  It may compute a column from any of the candidates' columns, except for the
    columns of the group.
    """
    making = _Making(policies, None)
    declared = [
        ColumnLineage(
            target=column.name,
            inputs=(*making.values(mapping, column, origins), *_keys(mapping, column, origins)),
            steps=tuple(_steps(column)),
        )
        for column in mapping.columns
    ]
    return declared if mapping.derived is None else _derive(mapping, declared, derived)


def row_inputs(mapping: TableMapping, origins: Origins = NOT_READ) -> list[ColumnName]:
    """Return the source columns that hooks and rules read: they decide about the whole row."""
    names = dict.fromkeys([*mapping.extra_columns, *(n for it in mapping.rules for n in it.reads)])
    return [found.source for name in names for found in _inputs(origins.of_source(mapping, name))]


def _derive(
    mapping: TableMapping, declared: Iterable[ColumnLineage], derived: Iterable[str]
) -> list[ColumnLineage]:
    assert mapping.derived is not None
    candidates = {one.target: one.inputs for one in declared}
    every = tuple(dict.fromkeys(one for inputs in candidates.values() for one in inputs))
    group = {name: candidates[name] for name in mapping.derived.group}
    named = {*candidates, *_WORD.findall(mapping.derived.select)}
    return [
        ColumnLineage(target=name, inputs=group.get(name, every), steps=("derive by SQL",))
        for name in derived
        if name in named
    ]


def _inputs(origins: Iterable[Origin], *, is_value: bool = True) -> list[Input]:
    return [Input(origin.name, is_value=is_value) for origin in origins if origin.path]


def _keys(mapping: TableMapping, column: Column, origins: Origins) -> list[Input]:
    """Return the source columns by which the column's lookup finds a row."""
    if column.lookup is None:
        return []
    found = [origin for name in column.sources for origin in origins.of_source(mapping, name)]
    return _inputs(found, is_value=False)


def _steps(column: Column) -> Iterator[str]:
    match column.source:
        case Constant():
            yield "constant"
        case SyncTime():
            yield "time of the write"
        case FirstOf():
            yield "first that is not NULL"
    if column.convert is not None:
        yield "convert"
    if column.default is not None:
        yield "default for NULL"
    yield from (f"look up in {lookup.database}" for lookup in column.lookups)
    if column.max_length is not None:
        yield f"cut to {column.max_length} characters"


def carried(mapping: TableMapping, column: Column, origins: Origins) -> Sequence[Origin]:
    """Return the origins of a target column's values: of a lookup, those of the values found."""
    if column.lookup is not None:
        return origins.lookups.get(column.name, ())
    return [origin for name in column.sources for origin in origins.of_source(mapping, name)]


def undecided(
    mappings: Mapping[str, TableMapping], policies: Policies, origins: Known = NOTHING_KNOWN
) -> Iterator[ColumnName]:
    """Yield the unclassified columns of both sides that look personal."""
    seen = set()
    for mapping_name, mapping in mappings.items():
        source, target = mapping.source_table, mapping.target_table
        types = origins.get(mapping_name, NOT_READ).types
        columns = [
            *((source, name, types.get(name, "")) for name in mapping.source_columns),
            *((target, it.name, "") for it in mapping.columns if mapping.derived is None),
        ]
        for table, column, type_ in columns:
            name = ColumnName(table.database, table.schema, table.name, column)
            if name not in seen and policies.undecided(name, type_):
                yield name
            seen.add(name)


@dataclass(frozen=True, slots=True)
class _Making:
    policies: Policies
    principal: Principal | None

    def values(self, mapping: TableMapping, column: Column, origins: Origins) -> list[Input]:
        """Return the origins of a column's values with the masks of the target's group."""
        lines = [
            self.line("", mapping, column, origin)
            for origin in carried(mapping, column, origins)
            if origin.path
        ]
        return [Input(line.source, line.seen if line.is_masked else "") for line in lines]

    def line(self, name: str, mapping: TableMapping, column: Column, origin: Origin) -> Line:
        goes = mapping.target_table
        principal = self.principal or group_principal(goes.database)
        mask, fault = None, ""
        try:
            mask = origin.decide(self.policies, principal)
        except PolicyError as exc:
            fault = str(exc)
        return Line(
            mapping=name,
            source=origin.name,
            target=ColumnName(goes.database, goes.schema, goes.name, column.name),
            principal=principal,
            tags=self.policies.classified(*origin.name),
            mask=mask,
            fault=fault,
            named=self.policies.named(origin.name),
        )
