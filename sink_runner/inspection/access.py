"""Redact the rows of dead letters as the policies say for a user.

A personal value is shown unmasked only on request, and only if a policy permits it for the user;
the audit log gets an entry before the value is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import PolicyError, SinkError
from ..masking.policy import ColumnName, Policies
from ..masking.principals import Principal
from ..masking.redaction import masks_for
from ..masking.scrub import HIDDEN
from ..plugin import Table
from .payload import Payload


class RefusedError(SinkError):
    """No policy shows this principal any personal column unmasked."""


class RowRedactor(NamedTuple):
    """The masks of one table's columns for one principal."""

    masks: Mapping[str, Any]
    cleared: Collection[str]
    """Personal columns that the principal may see unmasked; they are hidden until requested."""

    def row(self, row: Mapping[str, Any] | None, *, clear: bool) -> dict[str, Any] | None:
        """Return the row, masked; with `clear`, the columns of `cleared` unmasked."""
        if row is None:
            return None
        return {name: self._redact(name, value, clear=clear) for name, value in row.items()}

    def _redact(self, name: str, value: Any, *, clear: bool) -> Any:
        if name in self.cleared:
            return value if clear else HIDDEN
        mask = self.masks.get(name)
        if mask is None:
            return value
        try:
            return mask(value)
        except Exception:  # noqa: BLE001 - a value that no mask was made for is not shown either
            return HIDDEN


class ReaderAccess:
    """The columns that the policies show to one user."""

    def __init__(self, policies: Policies, user: str) -> None:
        self.user = user
        self._policies = policies
        self._principal: Principal = policies.person(user)

    def redactor(self, table: Table, columns: Iterable[str]) -> RowRedactor:
        """Return the masks of a table's columns for the principal."""
        columns = list(columns)
        masks = dict(masks_for(self._policies, table, columns, self._principal))
        names = {c: ColumnName(table.database, table.schema, table.name, c) for c in columns}
        open_ = [column for column in columns if column not in masks]
        cleared = [c for c in open_ if self._personal(names[c]) and self._decided(names[c])]
        for column in set(open_) - set(cleared):
            if self._personal(names[column]):  # and no policy names it
                masks[column] = _hide
        return RowRedactor(masks, cleared)

    def payload(self, table: Table, payload: Payload, *, clear: bool) -> dict[str, Any]:
        redactor = self.redactor(table, payload.columns)
        return {
            "op": payload.op,
            "key": redactor.row(payload.key, clear=clear),
            "before": redactor.row(payload.before, clear=clear),
            "after": redactor.row(payload.after, clear=clear),
        }

    def check_clear(self, table: Table, columns: Iterable[str]) -> Collection[str]:
        """Return the columns that the principal may see unmasked; raise RefusedError for none."""
        found = self.redactor(table, columns).cleared
        if not found:
            raise RefusedError(
                f"no policy shows {self._principal} a personal column of {table} in clear: "
                "add an item with MASK_NONE to policies.json, or use another account"
            )
        return found

    def _decided(self, name: ColumnName) -> bool:
        try:
            return self._policies.decide(name, self._principal) is not None
        except PolicyError:
            return False

    def _personal(self, name: ColumnName) -> bool:
        """Whether the column is personal, or unclassified with a type that can hold PII.

        The type is unknown here; the schema check refuses unbounded types of unclassified columns.
        """
        known = self._policies
        return bool(
            known.classified(*name) or known.named(name) or known.undecided(name, "varchar(1)")
        )


def _hide(_value: Any) -> str:
    return HIDDEN
