"""Where personal columns go: each column of each mapping, its reader and what that one sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import PolicyError
from ..plugin import Column, TableMapping
from .policy import ColumnName, Mask, Policies
from .readers import Reader, group_reader

HIDDEN = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A source column on its way to a column of a target, or to somebody who reads it."""

    mapping: str
    source: ColumnName
    target: ColumnName
    reader: Reader
    tags: frozenset[str]
    mask: Mask | None = None
    fault: str = ""
    named: bool = False
    """Some policy speaks of it."""

    @property
    def concerns(self) -> bool:
        """Is it personal, or spoken of?"""
        return self.named or bool(self.tags)

    @property
    def seen(self) -> str:
        """What the reader sees: the mask, with its expression."""
        if self.fault:
            return HIDDEN
        if self.mask is None:
            return "as it is"
        return self.mask.expression or self.mask.kind.value


def lines(
    mappings: Mapping[str, TableMapping], policies: Policies, reader: Reader | None = None
) -> list[Line]:
    """Every column that is carried over, for the target's group or for `reader`.

    What is only looked up by does not reach the target, and is left out.
    """
    making = _Making(policies, reader)
    return [
        making.line(name, mapping, column, source)
        for name, mapping in mappings.items()
        for column in mapping.columns
        if column.lookup is None
        for source in column.sources
    ]


def undecided(mappings: Mapping[str, TableMapping], policies: Policies) -> Iterator[ColumnName]:
    """The columns of both sides that look personal and that nobody has classified."""
    seen = set()
    for mapping in mappings.values():
        source, target = mapping.source_table, mapping.target_table
        names = [
            *(ColumnName(source.database, source.schema, source.name, name)
              for name in mapping.source_columns),
            *(ColumnName(target.database, target.schema, target.name, column.name)
              for column in mapping.columns if mapping.candidates is None),
        ]  # fmt: skip
        for name in names:
            if name not in seen and policies.undecided(name, ""):
                yield name
            seen.add(name)


@dataclass(frozen=True, slots=True)
class _Making:
    policies: Policies
    reader: Reader | None

    def line(self, name: str, mapping: TableMapping, column: Column, source: str) -> Line:
        came, goes = mapping.source_table, mapping.target_table
        origin = ColumnName(came.database, came.schema, came.name, source)
        reader = self.reader or group_reader(goes.database)
        mask, fault = None, ""
        try:
            mask = self.policies.decide_closed(origin, reader)
        except PolicyError as exc:
            fault = str(exc)
        return Line(
            mapping=name,
            source=origin,
            target=ColumnName(goes.database, goes.schema, goes.name, column.name),
            reader=reader,
            tags=self.policies.classified(*origin),
            mask=mask,
            fault=fault,
            named=self.policies.named(origin),
        )
