"""A row as one reader may see it: what `dlq show` prints, and anything else that shows rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import PolicyError
from ..plugin import Table
from .policy import ColumnName, Policies
from .principals import Reader
from .scrub import HIDDEN

Shown = Callable[[Any], Any]


def shown_row(
    policies: Policies, table: Table, row: Mapping[str, Any], reader: Reader
) -> dict[str, Any]:
    """The row of a table with every column masked, shown or hidden as the policies have it.

    A personal column that no policy opens to the reader is hidden, and that there is no value in
    it as well.
    """
    masks = masks_for(policies, table, row, reader)
    return {
        name: mask(value) if (mask := masks.get(name)) else value for name, value in row.items()
    }


def masks_for(
    policies: Policies, table: Table, columns: Iterable[str], reader: Reader
) -> dict[str, Shown]:
    """What to do with each column that the reader may not see as it is."""
    found = {}
    for column in columns:
        name = ColumnName(table.database, table.schema, table.name, column)
        mask = _mask(policies, name, reader)
        if mask is not None:
            found[column] = mask
    return found


def _mask(policies: Policies, name: ColumnName, reader: Reader) -> Shown | None:
    try:
        decision = policies.decide_closed(name, reader)
    except PolicyError:
        return _hide
    return decision.function if decision else None


def _hide(_value: Any) -> str:
    return HIDDEN
