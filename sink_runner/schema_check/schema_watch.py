"""Check each schema before a row of it is decoded, and pause the mapping if it would do harm.

The watch is between the decoder and the registry. So it checks a schema id once, when the decoder
plans for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import structlog

from ..avro import SchemaSource
from ..errors import DecodeError, SchemaError
from .contract import Contract
from .renames import old_names, with_names, with_nulls
from .rules import Rules
from .schema_findings import Change, Finding, Severity, passes, refused
from .shape import RowShape, avro_name, row_of, source_of

T = TypeVar("T")


class Store(Protocol):
    """Stores contracts."""

    def load(self, mapping: str) -> Contract | None: ...

    def update(self, mapping: str, change: Callable[[Contract | None], Contract]) -> Contract: ...


class SchemaWatch:
    """The registry of one mapping's decoder. Not thread-safe."""

    def __init__(
        self,
        name: str,
        registry: SchemaSource,
        *,
        rules: Callable[[], Rules],
        present: Callable[[], RowShape],
        store: Store,
    ) -> None:
        """`rules` and `present` return the current rules and the current source table.

        Both may raise RetriableError.
        """
        self._name = name
        self._registry = registry
        self._rules = rules
        self._present = present
        self._store = store
        self._contract: Contract | None = None
        self._spellings: set[str] = set()
        """Spellings of the table's name in its schemas."""
        self._log = structlog.get_logger().bind(mapping=name)

    def known(self) -> frozenset[str]:
        """The columns that the source has or once had."""
        contract = self._store.load(self._name)
        return frozenset() if contract is None else contract.missing | contract.row.columns.keys()

    def before(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work`, preceded by the check of the table."""

        def checked() -> T:
            self.start()
            return work()

        return checked

    def start(self) -> None:
        """Check the current table before an event is read. Raises SchemaError."""
        rules, row = self._rules(), self._present()
        self._contract = contract = self._store.load(self._name)
        found = rules.check(row, contract, "the database")
        if refusals := refused(found):
            raise SchemaError(self._text(refusals))
        self._log_warnings(found)
        if contract is None or _stale(rules, contract, row):
            self._store_row(row, row)

    def schema(self, schema_id: int) -> Any:
        """Return the schema. Raises SchemaError where it does harm: the batch is retried.

        Raises DecodeError where it is another table's: the event is wrong, not the table.
        """
        raw = self._registry.schema(schema_id)
        row = row_of(raw, schema_id=schema_id)
        if row is None:
            return raw
        rules = self._rules()
        self._refuse_others(raw, row, rules)
        if self._contract is None:
            self._contract = self._store.load(self._name)
        found = self._check(rules, row)
        if refused(found):
            self._contract = self._store.load(self._name)  # a person may have accepted it
            found = self._check(rules, row)
        if refusals := refused(found):
            return self._after_undo(raw, row, refusals, rules)
        self._log_warnings(found)
        return self._with_accepted(raw, row, rules)

    def _refuse_others(self, raw: Any, row: RowShape, rules: Rules) -> None:
        """Raise DecodeError for another table's schema; compare columns where the name differs."""
        owner, ours = source_of(raw), rules.mapping.source_table.topic
        if not owner or owner in {avro_name(ours), *self._spellings}:
            return
        theirs, present = row.columns.keys(), self._present().columns.keys()
        if not (set(rules.named) <= theirs and (theirs <= present or present <= theirs)):
            raise DecodeError(f"schema {row.schema_id} is of {owner}, not of {ours}")
        self._spellings.add(owner)

    def _check(self, rules: Rules, row: RowShape) -> list[Finding]:
        """Return the findings of a schema; without a refused one it becomes the contract."""
        contract, origin = self._contract, f"schema {row.schema_id}"
        if contract is not None and row.schema_id in contract.accepted:
            return []
        found = rules.check(row, contract, origin)
        if refused(found) or not _differ(contract, row):
            return found
        # The schema of a row lacks the primary key, which may have changed, too.
        present = self._present()
        row = replace(row, key=present.key)
        later = True if [*row.columns] == [*present.columns] else None
        found = rules.check(row, contract, origin, later=later)
        if not refused(found):
            self._store_row(row, present)
        return found

    def _after_undo(self, raw: Any, row: RowShape, refusals: list[Finding], rules: Rules) -> Any:
        """Return a harmful schema if the change was undone; else raise SchemaError.

        A column that was renamed and renamed back is read under its name.
        """
        current = rules.check(self._present(), self._contract, "the database")
        lasting = [finding for finding in refusals if not passes(finding, row.columns)]
        if lasting or refused(current):
            raise SchemaError(self._text(refusals))
        names = {} if self._contract is None else old_names(self._contract.row, row)
        self._log.warning(
            "schema_passed",
            schema_id=row.schema_id,
            problems=[finding.problem for finding in refusals],
            renamed=names,
            advice=f"the change was undone; `sink-runner batch {self._name} --full` writes what "
            "these events lack",
        )
        return with_names(raw, names) if names else raw

    def _with_accepted(self, raw: Any, row: RowShape, rules: Rules) -> Any:
        """Add a column as NULL whose removal a person accepted."""
        accepted = frozenset() if self._contract is None else self._contract.missing
        gone = accepted.intersection(rules.named) - row.columns.keys()
        return with_nulls(raw, gone) if gone else raw

    def _store_row(self, row: RowShape, present: RowShape) -> None:
        """Store a row as the contract, with what a person has accepted in between."""

        def change(stored: Contract | None) -> Contract:
            return Contract(row=row) if stored is None else stored.followed_by(row, present)

        self._contract = self._store.update(self._name, change)

    def _log_warnings(self, found: list[Finding]) -> None:
        for finding in found:
            if finding.severity is Severity.WARNING and finding.change is not Change.TARGET:
                self._log.warning("schema_changed", problem=finding.problem, advice=finding.advice)

    def _text(self, refusals: list[Finding]) -> str:
        return f"mapping {self._name!r}: " + "; ".join(finding.text for finding in refusals)


def _stale(rules: Rules, contract: Contract, row: RowShape) -> bool:
    """Whether the stored contract differs from the table in what the mapping uses."""
    back = not contract.missing.isdisjoint(row.columns)
    changed = _shapes(rules, contract.row) != _shapes(rules, row)
    return back or changed or contract.row.key != row.key


def _shapes(rules: Rules, row: RowShape) -> list[Any]:
    return [row.columns.get(name) for name in rules.named]


def _differ(contract: Contract | None, row: RowShape) -> bool:
    if contract is None:
        return True
    followed = contract.followed_by(row).row
    return followed != contract.row or [*followed.columns] != [*contract.row.columns]
