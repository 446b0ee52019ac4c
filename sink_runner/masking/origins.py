"""The origins of a mapping's values, and the masks that the policies demand for them.

A policy covers columns of tables.  A value that a query returns under any name comes from such a
column, whose policy applies.  For a computed value the database names no column: no policy covers
it until the mapping declares the columns that it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import PolicyError
from ..plugin import TableMapping
from .policy import ColumnName, Mask, Policies
from .principals import Principal

UNDECIDED = (
    "may hold personal data and is not classified; give it a tag in classification.json, or list "
    "it under not_personal with the reason"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The column that a value comes from."""

    path: tuple[ColumnName, ...] = ()
    """The column; if it is a view's, then the column that the view shows, and so on."""
    type: str | None = None
    """The type as PostgreSQL writes it; None if the schema check covers the column."""
    computed: str = ""
    """What computes the value, and what to do; "" if `path` ends with a known column."""
    strict: bool = True
    """Whether an unclassified column that may hold personal data is refused, or only a warning."""

    @property
    def name(self) -> ColumnName:
        return self.path[-1] if self.path else ColumnName("", "", "(computed)", "(computed)")

    def decide(self, policies: Policies, principal: Principal) -> Mask | None:
        """Return the mask of the first column of the path that is classified or has a policy.

        Raises PolicyError if none is, or if it has no policy for the principal.
        """
        for name in self.path:
            if policies.named(name) or policies.is_classified(name):
                return policies.decide_closed(name, principal)
        if self.computed:
            raise PolicyError(self.computed)
        if self.strict and self.undecided(policies):
            raise PolicyError(f"{self.name} {UNDECIDED}")
        return None

    def undecided(self, policies: Policies) -> bool:
        """Whether the column is unclassified and may hold personal data."""
        return self.type is not None and policies.undecided(self.name, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The origins of a mapping's values, read from its databases."""

    sources: Mapping[str, Sequence[Origin]] = field(default_factory=dict)
    """By source column, if the source is a query or a view."""
    lookups: Mapping[str, Sequence[Origin]] = field(default_factory=dict)
    """By target column, for the values of its last lookup; empty if no database was read."""

    types: Mapping[str, str] = field(default_factory=dict)
    """The types of the source columns, as PostgreSQL writes them."""

    def of_source(self, mapping: TableMapping, column: str) -> Sequence[Origin]:
        """Return the origins of a source column; a table's column is its own."""
        table = mapping.source_table
        own = Origin(path=(ColumnName(table.database, table.schema, table.name, column),))
        return self.sources.get(column, (own,))


NOT_READ = Origins()
"""The origins of a mapping whose databases were not read."""
