"""Looks at every schema before a row of it is read, and pauses the mapping where one would do harm.

It stands between the decoder and the registry, so it is asked once for each new schema id, when
the decoder plans for it; what is planned for costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import structlog

from ..errors import DecodeError, SchemaError
from .contract import Contract
from .findings import Change, Finding, Severity, passes, refused
from .renames import old_names, with_names, with_nulls
from .rules import Rules
from .shape import RowShape, avro_name, row_of, source_of

T = TypeVar("T")


class Registry(Protocol):
    """Where schemas come from."""

    def schema(self, schema_id: int) -> Any:
        """Give a writer's schema as parsed JSON, references inlined."""


class Store(Protocol):
    """Where contracts are kept."""

    def load(self, mapping: str) -> Contract | None: ...

    def update(self, mapping: str, change: Callable[[Contract | None], Contract]) -> Contract: ...


class SchemaWatch:
    """One mapping's registry, as the decoder sees it.  One thread at a time."""

    def __init__(
        self,
        name: str,
        registry: Registry,
        *,
        rules: Callable[[], Rules],
        present: Callable[[], RowShape],
        store: Store,
    ) -> None:
        """`rules` are those of this moment, `present` is the source table as it is now.

        Both may raise RetriableError.
        """
        self._name = name
        self._registry = registry
        self._rules = rules
        self._present = present
        self._store = store
        self._contract: Contract | None = None
        self._spellings: set[str] = set()
        """Of the table's name, in the schemas that were found to be its own."""
        self._log = structlog.get_logger().bind(mapping=name)

    def known(self) -> frozenset[str]:
        """The columns that the source has or once had."""
        contract = self._store.load(self._name)
        return frozenset() if contract is None else contract.missing | contract.row.columns.keys()

    def before(self, work: Callable[[], T]) -> Callable[[], T]:
        """`work`, once the table was found good."""

        def checked() -> T:
            self.start()
            return work()

        return checked

    def start(self) -> None:
        """Check the table as it is, before anything is read.  Raises SchemaError."""
        rules, row = self._rules(), self._present()
        self._contract = contract = self._store.load(self._name)
        found = rules.check(row, contract, "the database")
        if harm := refused(found):
            raise SchemaError(self._told(harm))
        self._tell(found)
        if contract is None or _stale(rules, contract, row):
            self._follow(row, row)

    def schema(self, schema_id: int) -> Any:
        """The registry's answer.  Raises SchemaError: the batch is tried again, none of it lost.

        DecodeError where it is another table's: then the event is broken, not the table.
        """
        raw = self._registry.schema(schema_id)
        row = row_of(raw, schema_id=schema_id)
        if row is None:
            return raw
        rules = self._rules()
        self._refuse_others(raw, row, rules)
        if self._contract is None:
            self._contract = self._store.load(self._name)
        found = self._look(rules, row)
        if refused(found):
            self._contract = self._store.load(self._name)  # a person may have accepted it
            found = self._look(rules, row)
        if harm := refused(found):
            return self._past(raw, row, harm, rules)
        self._tell(found)
        return self._whole(raw, row, rules)

    def _refuse_others(self, raw: Any, row: RowShape, rules: Rules) -> None:
        """Another table's, by its name; where it is only spelt otherwise, the columns tell."""
        whose, ours = source_of(raw), rules.mapping.source_table.topic
        if not whose or whose in {avro_name(ours), *self._spellings}:
            return
        theirs, present = row.columns.keys(), self._present().columns.keys()
        if not (set(rules.named) <= theirs and (theirs <= present or present <= theirs)):
            raise DecodeError(f"schema {row.schema_id} is of {whose}, not of {ours}")
        self._spellings.add(whose)

    def _look(self, rules: Rules, row: RowShape) -> list[Finding]:
        """What is found of a schema; what is found good is what the next is compared with."""
        contract, origin = self._contract, f"schema {row.schema_id}"
        if contract is not None and row.schema_id in contract.accepted:
            return []
        found = rules.check(row, contract, origin)
        if refused(found) or not _differ(contract, row):
            return found
        # A schema of rows does not tell the primary key, which may have changed with them.
        present = self._present()
        row = replace(row, key=present.key)
        later = True if [*row.columns] == [*present.columns] else None
        found = rules.check(row, contract, origin, later=later)
        if not refused(found):
            self._follow(row, present)
        return found

    def _past(self, raw: Any, row: RowShape, harm: list[Finding], rules: Rules) -> Any:
        """Read a schema of a time that is over; pause where the table is still like that.

        A column that was renamed and has its name and place again is read under its name.
        """
        now = rules.check(self._present(), self._contract, "the database")
        lasting = [finding for finding in harm if not passes(finding, row.columns)]
        if lasting or refused(now):
            raise SchemaError(self._told(harm))
        names = {} if self._contract is None else old_names(self._contract.row, row)
        self._log.warning(
            "schema_passed",
            schema_id=row.schema_id,
            problems=[finding.problem for finding in harm],
            renamed=names,
            advice=f"the table is as it was; what these events lack is brought by "
            f"`sink-runner batch {self._name} --full`",
        )
        return with_names(raw, names) if names else raw

    def _whole(self, raw: Any, row: RowShape, rules: Rules) -> Any:
        """What a person accepted to be gone is NULL."""
        accepted = frozenset() if self._contract is None else self._contract.missing
        gone = accepted.intersection(rules.named) - row.columns.keys()
        return with_nulls(raw, gone) if gone else raw

    def _follow(self, row: RowShape, present: RowShape) -> None:
        """A row was found good; what a person has accepted since we looked is kept, too."""

        def change(kept: Contract | None) -> Contract:
            return Contract(row=row) if kept is None else kept.followed_by(row, present)

        self._contract = self._store.update(self._name, change)

    def _tell(self, found: list[Finding]) -> None:
        for finding in found:
            if finding.severity is Severity.WARNING and finding.change is not Change.TARGET:
                self._log.warning("schema_changed", problem=finding.problem, advice=finding.advice)

    def _told(self, harm: list[Finding]) -> str:
        return f"mapping {self._name!r}: " + "; ".join(finding.text for finding in harm)


def _stale(rules: Rules, contract: Contract, row: RowShape) -> bool:
    """Whether the table is another to the mapping than what is kept of it."""
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
