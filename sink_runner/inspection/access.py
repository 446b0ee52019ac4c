"""Who looks at a dead letter, and what the policies show of it.

By default nothing personal is shown in clear, not even to those whom a policy lets see it: they
have to ask for it, and that is written down before they are answered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import PolicyError, SinkError
from ..masking.policy import ColumnName, Policies
from ..masking.principals import Reader
from ..masking.redaction import masks_for
from ..masking.scrub import HIDDEN
from ..plugin import Table
from .payload import Payload


class RefusedError(SinkError):
    """No policy lets this person see anything in clear that is hidden by default."""


class Sight(NamedTuple):
    """What is done to the columns of a table before somebody sees them."""

    masks: Mapping[str, Any]
    cleared: Collection[str]
    """Personal columns that a policy opens to the reader."""

    def row(self, row: Mapping[str, Any] | None, *, clear: bool) -> dict[str, Any] | None:
        """The row as it may be shown."""
        if row is None:
            return None
        return {name: self._shown(name, value, clear=clear) for name, value in row.items()}

    def _shown(self, name: str, value: Any, *, clear: bool) -> Any:
        if name in self.cleared:
            return value if clear else HIDDEN
        mask = self.masks.get(name)
        if mask is None:
            return value
        try:
            return mask(value)
        except Exception:  # noqa: BLE001 - a value that no mask was made for is not shown either
            return HIDDEN


class Viewer:
    """A person, as Ranger knows him."""

    def __init__(self, policies: Policies, user: str) -> None:
        self.user = user
        self._policies = policies
        self._reader: Reader = policies.person(user)

    def sight(self, table: Table, columns: Iterable[str]) -> Sight:
        """What he sees of a table's columns."""
        columns = list(columns)
        masks = dict(masks_for(self._policies, table, columns, self._reader))
        names = {c: ColumnName(table.database, table.schema, table.name, c) for c in columns}
        open_ = [column for column in columns if column not in masks]
        cleared = [c for c in open_ if self._personal(names[c]) and self._decided(names[c])]
        for column in set(open_) - set(cleared):
            if self._personal(names[column]):  # and nobody has decided
                masks[column] = _hide
        return Sight(masks, cleared)

    def payload(self, table: Table, payload: Payload, *, clear: bool) -> dict[str, Any]:
        """The event as he may see it."""
        sight = self.sight(table, payload.columns)
        return {
            "op": payload.op,
            "key": sight.row(payload.key, clear=clear),
            "before": sight.row(payload.before, clear=clear),
            "after": sight.row(payload.after, clear=clear),
        }

    def check_clear(self, table: Table, columns: Iterable[str]) -> Collection[str]:
        """The columns that he may see in clear; a RefusedError if there is none."""
        found = self.sight(table, columns).cleared
        if not found:
            raise RefusedError(
                f"no policy shows {self._reader} a personal column of {table} in clear: "
                "add an item with MASK_NONE to policies.json, or ask somebody else"
            )
        return found

    def _decided(self, name: ColumnName) -> bool:
        try:
            return self._policies.decide(name, self._reader) is not None
        except PolicyError:
            return False

    def _personal(self, name: ColumnName) -> bool:
        """Personal, or perhaps: as long as nobody has said that it is not.

        The type is not known here; where it has no bounds, the schema check lets no mapping start.
        """
        known = self._policies
        return bool(
            known.classified(*name) or known.named(name) or known.undecided(name, "varchar(1)")
        )


def _hide(_value: Any) -> str:
    return HIDDEN
