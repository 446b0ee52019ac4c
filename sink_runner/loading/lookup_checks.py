"""Check the lookups of a `TableMapping` without a database."""

from __future__ import annotations

from collections.abc import Iterator

from ..plugin import AllOf, Column, Ignore, TableMapping


def lookup_faults(mapping: TableMapping) -> Iterator[str]:
    for column in mapping.columns:
        yield from _column_faults(column)
    key = mapping.derived.key if mapping.derived else mapping.key
    keyed = [column.name for column in mapping.columns if column.lookups and column.name in key]
    if keyed and mapping.query is None:  # rows missing in a query are found by the target's key
        yield from _removal_faults(mapping, ", ".join(keyed))


def _column_faults(column: Column) -> Iterator[str]:
    at = f"column {column.name!r}"
    is_tuple = isinstance(column.source, AllOf)
    if column.must_resolve and not column.lookups:
        yield f"{at}: must_resolve needs a lookup"
    if is_tuple and not column.sources:
        yield f"{at}: all_of() needs a column"
    if is_tuple and not (column.lookups or column.convert):
        yield f"{at}: all_of() makes a tuple, so it needs a lookup"
    if column.convert is not None:
        return  # its result is unknown, and with it the number of arrays
    arrays = [len(column.sources) if is_tuple else 1, *(1 for _ in column.lookups[1:])]
    for lookup, wanted in zip(column.lookups, arrays, strict=False):
        parameters = lookup.query.count("%s")
        if parameters not in (0, wanted):
            yield f"{at}: the lookup's query takes {parameters} arrays and is given {wanted}"


def _removal_faults(mapping: TableMapping, keyed: str) -> Iterator[str]:
    """The row of a removal is not looked up: the values of its lookup may have changed since."""
    for name in ("on_delete", "on_remove", "on_key_change"):
        action = getattr(mapping, name)
        if not isinstance(action, Ignore | None):
            yield (
                f"{name}={type(action).__name__}() needs the target's key, and {keyed} is looked "
                f"up, for rows that are written only: set {name}=Ignore()"
            )
