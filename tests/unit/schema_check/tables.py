"""Tables as schemas have them, small enough to read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sink_runner.errors import DecodeError
from sink_runner.masking.classification import Classification
from sink_runner.masking.policy import Policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.plugin import Column, Table, TableMapping, source_wins
from sink_runner.schema_check.catalog_schema import (
    TableColumn,
    TableShape,
    key_schema,
    value_schema,
)
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.rules import Rules
from sink_runner.schema_check.shape import RowShape, row_of

TABLE = Table("north", "public", "t")
COLUMNS = {"id": "integer!", "title": "character varying(20)", "amount": "bigint"}
MAPPING = TableMapping(
    source=str(TABLE),
    target="south.public.t",
    key=("id",),
    conflict=source_wins(),
    columns=(Column("id", required=True), Column("name", "title"), Column("amount")),
)


def shape(key: tuple[str, ...] = ("id",), **columns: str) -> TableShape:
    """A table; a type with an exclamation mark is NOT NULL."""
    made = [
        TableColumn(name, type_.removesuffix("!"), not type_.endswith("!"))
        for name, type_ in columns.items()
    ]
    return TableShape(made, key)


def row(key: tuple[str, ...] = ("id",), *, with_types: bool = True, **columns: str) -> RowShape:
    """The row of a table; without `with_types` as in a registry, which has no lengths."""
    table = shape(key, **columns)
    made = row_of(
        value_schema(TABLE, table, with_source_types=with_types),
        key=key_schema(TABLE, table) if with_types else None,
    )
    assert made is not None
    return made


def envelope(*, with_types: bool = False, **columns: str) -> dict[str, Any]:
    """The schema of the events of a table."""
    record = value_schema(TABLE, shape(**columns), with_source_types=with_types)
    source = [
        ("ts_ms", "long"),
        ("snapshot", ["null", "string"]),
        ("lsn", ["null", "long"]),
        ("origin", ["null", "string"]),
    ]
    block = {
        "type": "record",
        "name": "Source",
        "fields": [{"name": name, "type": kind} for name, kind in source],
    }
    fields = {
        "before": ["null", record],
        "after": ["null", "Value"],
        "source": block,
        "op": "string",
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": str(TABLE),
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


def policies(*tagged: str, not_personal: tuple[str, ...] = ()) -> Policies:
    """Policies that classify some columns of the table; its own ones are decided."""
    not_personal += tuple({"title", "amount", "label", "other"} - {*tagged, *not_personal})
    known = Classification(
        tags={("north", "public", "t", name): frozenset({"NAME"}) for name in tagged},
        not_personal=frozenset(("north", "public", "t", name) for name in not_personal),
    )
    return Policies(PolicyFiles(version=0, digest="", policies=(), classification=known))


def rules(*, strict: bool = True, target: Any = None, known: Any = None, **declared: Any) -> Rules:
    """The rules of a mapping of `id`, `title` and `amount`; `declared` changes the mapping."""
    return Rules(
        name="one",
        mapping=replace(MAPPING, **declared),
        policies=known or policies(),
        strict=strict,
        target=target,
    )


PLANNED = Contract(row=row(**COLUMNS))
"""What the mapping was planned with."""


class Schemas:
    """A registry that holds some schemas."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.requested: list[int] = []

    def schema(self, schema_id: int) -> Any:
        self.requested.append(schema_id)
        if schema_id not in self.held:
            raise DecodeError("no such schema")
        return self.held[schema_id]


class Memory:
    """Keeps contracts for as long as a test runs."""

    def __init__(self) -> None:
        self.kept: dict[str, Contract] = {}
        self.saved = 0

    def load(self, mapping: str) -> Contract | None:
        return self.kept.get(mapping)

    def update(self, mapping: str, change: Callable[[Contract | None], Contract]) -> Contract:
        self.kept[mapping] = change(self.kept.get(mapping))
        self.saved += 1
        return self.kept[mapping]
