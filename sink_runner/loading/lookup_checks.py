"""Check the lookups of a `TableMapping` without a database."""

from __future__ import annotations

from collections.abc import Iterator

from ..plugin import AllOf, Column, Ignore, TableMapping


def lookup_faults(mapping: TableMapping) -> Iterator[str]:
    for column in mapping.columns:
        yield from _column(column)
    key = mapping.derived.key if mapping.derived else mapping.key
    keyed = [column.name for column in mapping.columns if column.lookups and column.name in key]
    if keyed and mapping.query is None:  # what a query leaves out is known by the target's own key
        yield from _removals(mapping, ", ".join(keyed))


def _column(column: Column) -> Iterator[str]:
    at = f"column {column.name!r}"
    together = isinstance(column.source, AllOf)
    if column.must_resolve and not column.lookups:
        yield f"{at}: must_resolve needs a lookup"
    if together and not column.sources:
        yield f"{at}: all_of() needs a column"
    if together and not (column.lookups or column.convert):
        yield f"{at}: all_of() makes a tuple, so it needs a lookup"
    if column.convert is not None:
        return  # its result is unknown, and with it the number of arrays
    arrays = [len(column.sources) if together else 1, *(1 for _ in column.lookups[1:])]
    for lookup, wanted in zip(column.lookups, arrays, strict=False):
        taken = lookup.query.count("%s")
        if taken not in (0, wanted):
            yield f"{at}: the lookup's query takes {taken} arrays and is given {wanted}"


def _removals(mapping: TableMapping, keyed: str) -> Iterator[str]:
    """The row of a removal is not looked up: the values of its lookup may have changed since."""
    for name in ("on_delete", "on_remove", "on_key_change"):
        action = getattr(mapping, name)
        if not isinstance(action, Ignore | None):
            yield (
                f"{name}={type(action).__name__}() needs the target's key, and {keyed} is looked "
                f"up, for rows that are written only: set {name}=Ignore()"
            )
