"""Trace personal columns: each column of each mapping, its principal and what it sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import PolicyError
from ..plugin import Column, TableMapping
from .origins import NOT_READ, Origin, Origins
from .policy import ColumnName, Mask, Policies
from .principals import Principal, group_principal

HIDDEN = "hidden"
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
    """Yield every column whose value reaches the target, for the target's group or `principal`.

    A column that is only a lookup's input is left out.
    """
    making = _Making(policies, principal)
    return [
        making.line(name, mapping, column, origin)
        for name, mapping in mappings.items()
        for column in mapping.columns
        for origin in carried(mapping, column, origins.get(name, NOT_READ))
    ]


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
