"""Check a writer's row against a mapping's columns, its target and the policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..masking.policy import ColumnName, Policies
from ..model.envelope import Kind
from ..plugin import Column, TableMapping
from .column_order import reused_names
from .compatibility import Reading, reading
from .contract import Contract
from .renames import renamed
from .schema_findings import Change, Finding, Severity
from .shape import ColumnShape, RowShape
from .type_changes import change_of, fits_target

_HARM = {
    Change.NARROWED: "was narrowed",
    Change.TYPE: "has another type",
    Change.MEANING: "has another meaning",
}

_AS_TEXT = (
    "debezium.source.converters=text and "
    "debezium.source.text.type=io.sinkrunner.debezium.PostgresText"
)
_UNSUPPORTED = {
    Kind.OPAQUE: (
        "in a form that is not supported",
        (
            "run Debezium with decimal.handling.mode=string, time.precision.mode=isostring, "
            f"interval.handling.mode=string, and with {_AS_TEXT}"
        ),
    ),
    Kind.ARRAY: (
        "as an Avro array, in which Debezium loses inner arrays, lower bounds and special values",
        f"run Debezium with {_AS_TEXT}, which writes an array as PostgreSQL's text",
    ),
}
"""For each kind that cannot be decoded: the problem, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one mapping; a part that is None is not checked."""

    name: str
    mapping: TableMapping
    policies: Policies | None = None
    strict: bool = True
    target: Mapping[str, ColumnShape] | None = None
    """The target's columns, in the form of a schema."""

    def check(
        self,
        row: RowShape,
        contract: Contract | None,
        origin: str = "",
        *,
        later: bool | None = None,
    ) -> list[Finding]:
        """Return the findings of `row`; empty where there are none.

        `contract` is the row for which the mapping was planned; without it, no type is compared.
        A registry's schema may be older than the contract, unless the caller knows that it is
        `later`.
        """
        later = row.schema_id is None if later is None else later
        found = [
            *self._columns(row, contract),
            *self._reused(row, contract, later=later),
            *self._key(row, contract),
            *self._added(row, contract),
            *self._personal(row),
            *self._against_target(row),
        ]
        return [replace(finding, origin=origin) for finding in found]

    # -- the columns that the mapping names ---------------------------------------------------

    @property
    def named(self) -> tuple[str, ...]:
        """The table's columns that the mapping names; none for a query, which has its own."""
        return () if self.mapping.query is not None else self.mapping.source_columns

    def _columns(self, row: RowShape, contract: Contract | None) -> Iterator[Finding]:
        for name in self.named:
            planned = None if contract is None else contract.row.columns.get(name)
            written = row.columns.get(name)
            if written is None:
                yield self._missing(name, planned, row, contract)
            elif planned is not None:
                yield from self._compared(planned, written)
            if written is not None and written.kind in _UNSUPPORTED:
                problem, remedy = _UNSUPPORTED[written.kind]
                yield self._found(
                    name,
                    Change.FORM,
                    f"column {name} ({written.title}) is written {problem}",
                    remedy,
                )

    def _missing(
        self, name: str, planned: ColumnShape | None, row: RowShape, contract: Contract | None
    ) -> Finding:
        source = self.mapping.source
        if contract is not None and name in contract.missing:
            return self._found(
                name,
                Change.REMOVED,
                f"{source} has no column {name}, which was accepted; the mapping reads NULL",
                f"take the column out of plugin {self.name!r}",
                Severity.WARNING,
            )
        other = None if contract is None else renamed(name, contract.row, row)
        if planned is not None and other is not None:
            return self._found(
                name,
                Change.RENAMED,
                f"column {name} ({planned.title}) of {source} was probably renamed to {other}",
                f"rename it back, or name {other} in plugin {self.name!r} and restart",
            )
        planned_type = f" ({planned.title})" if planned is not None else ""
        return self._found(
            name,
            Change.REMOVED,
            f"column {name}{planned_type} of {source} is gone, and the mapping names it",
            f"bring it back, or take it out of plugin {self.name!r} and restart, or "
            f"{self._accept(row)}: the mapping then reads NULL",
        )

    def _reused(
        self, row: RowShape, contract: Contract | None, *, later: bool
    ) -> Iterator[Finding]:
        found = {} if contract is None else reused_names(contract.row, row, later=later)
        for name in self.named:
            if (other := found.get(name)) is None:
                continue
            seems = f"; the column that had it is probably {other} now" if other else ""
            yield self._found(
                name,
                Change.RENAMED,
                f"column {name} of {self.mapping.source} is at the position of another "
                f"column, which was probably given this name{seems}",
                f"rename it back; if it is the same column, {self._accept(row)}",
            )

    def _compared(self, planned: ColumnShape, written: ColumnShape) -> Iterator[Finding]:
        name, types = planned.name, f"{planned.title} -> {written.title}"
        mismatch = reading(planned, written) is Reading.MISMATCH
        change = change_of(planned, written)
        if mismatch and change not in _HARM:
            change = Change.TYPE
        if change in _HARM:
            yield self._found(
                name,
                change,
                f"column {name} of {self.mapping.source} {_HARM[change]}: {types}",
                f"change it back, or see that plugin {self.name!r} and {self.mapping.target} "
                f"take it and {self._accept()}",
            )
        elif change is Change.WIDENED:
            yield self._found(
                name,
                change,
                f"column {name} of {self.mapping.source} was widened: {types}",
                severity=Severity.OK,
            )
        if written.type.nullable and not planned.type.nullable and name in self._never_null:
            yield self._found(
                name,
                Change.NULLABLE,
                f"column {name} of {self.mapping.source} may be NULL now, and the mapping "
                "requires it",
                "a row without it becomes a dead letter; set it NOT NULL again",
                Severity.WARNING,
            )

    @property
    def _never_null(self) -> frozenset[str]:
        mapping = self.mapping
        key = mapping.derived.key if mapping.derived else mapping.key
        columns = [c for c in mapping.columns if c.required or c.name in key]
        return frozenset(name for column in columns for name in column.sources)

    # -- the row as a whole -------------------------------------------------------------------

    def _key(self, row: RowShape, contract: Contract | None) -> Iterator[Finding]:
        previous, current = None if contract is None else contract.row.key, row.key
        if previous is None or current is None or set(previous) == set(current):
            return
        yield self._found(
            ", ".join(sorted(set(previous) ^ set(current))),
            Change.KEY,
            f"the primary key of {self.mapping.source} was ({', '.join(previous)}) and is "
            f"({', '.join(current)}): events of one row may overtake each other, and the "
            "event of a delete has other columns",
            f"change it back, or let the events before it be applied and {self._accept()}",
        )

    def _added(self, row: RowShape, contract: Contract | None) -> Iterator[Finding]:
        if contract is None:
            return
        gone = {renamed(name, contract.row, row) for name in contract.row.columns}
        for name in row.columns.keys() - contract.row.columns.keys() - gone:
            title = row.columns[name].title
            yield self._found(
                name,
                Change.ADDED,
                f"column {name} ({title}) of {self.mapping.source} is new and not in the mapping",
                severity=Severity.OK,
            )

    def _personal(self, row: RowShape) -> Iterator[Finding]:
        if self.policies is None:
            return
        table = self.mapping.source_table
        for name, column in row.columns.items():
            place = ColumnName(table.database, table.schema, table.name, name)
            if self.policies.undecided(place, column.title):
                yield self._found(
                    name,
                    Change.PERSONAL,
                    f"column {name} ({column.title}) of {self.mapping.source} looks personal and "
                    "is not classified",
                    "give it a tag in classification.json, or list it under not_personal with "
                    "the reason",
                    Severity.REFUSED if self.strict else Severity.WARNING,
                )

    # -- the target ---------------------------------------------------------------------------

    def _against_target(self, row: RowShape) -> Iterator[Finding]:
        for column in self._unchanged():
            target = (self.target or {}).get(column.name)
            for name in column.sources if target is not None else ():
                source = row.columns.get(name)
                if source is None or target is None or fits_target(source, target):
                    continue
                yield self._found(
                    name,
                    Change.TARGET,
                    f"column {name} ({source.title}) may hold more than {column.name} "
                    f"({target.title}) of {self.mapping.target}",
                    "a row that does not fit becomes a dead letter; widen the target's column, "
                    "or declare max_length",
                    Severity.WARNING,
                )

    def _unchanged(self) -> Iterable[Column]:
        """Return the columns whose values are written unchanged."""
        if self.mapping.derived is not None or self.mapping.query is not None:
            return ()
        return [
            column
            for column in self.mapping.columns
            if not (column.convert or column.lookup or column.max_length or column.one_of)
        ]

    # -- messages -----------------------------------------------------------------------------

    def _accept(self, row: RowShape | None = None) -> str:
        which = f" --id {row.schema_id}" if row is not None and row.schema_id is not None else ""
        return f"run `sink-runner schema accept {self.name}{which}`"

    def _found(
        self,
        column: str,
        change: Change,
        problem: str,
        advice: str = "",
        severity: Severity = Severity.REFUSED,
    ) -> Finding:
        return Finding(
            mapping=self.name,
            column=column,
            change=change,
            severity=severity,
            problem=problem,
            advice=advice,
        )
