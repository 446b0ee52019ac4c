"""Return the masks of a table's columns for one principal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import PolicyError
from ..plugin import Table
from .policy import ColumnName, Policies
from .principals import Principal
from .scrub import HIDDEN

Mask = Callable[[Any], Any]


def masks_for(
    policies: Policies, table: Table, columns: Iterable[str], principal: Principal
) -> dict[str, Mask]:
    """Return the mask of each column that the principal may not see unmasked.

    A personal column without a policy for the principal is hidden, also a NULL in it.
    """
    found = {}
    for column in columns:
        name = ColumnName(table.database, table.schema, table.name, column)
        mask = _mask(policies, name, principal)
        if mask is not None:
            found[column] = mask
    return found


def _mask(policies: Policies, name: ColumnName, principal: Principal) -> Mask | None:
    try:
        decision = policies.decide_closed(name, principal)
    except PolicyError:
        return _hide
    return decision.function if decision else None


def _hide(_value: Any) -> str:
    return HIDDEN
