"""Small tables, their schemas and rules, for the tests of the schema check."""

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
    """Return a table; a type that ends with an exclamation mark is NOT NULL."""
    declared = [
        TableColumn(name, type_.removesuffix("!"), not type_.endswith("!"))
        for name, type_ in columns.items()
    ]
    return TableShape(declared, key)


def row(key: tuple[str, ...] = ("id",), *, with_types: bool = True, **columns: str) -> RowShape:
    """Return the row of a table; without `with_types` as the registry has it, without lengths."""
    table = shape(key, **columns)
    shape_of_row = row_of(
        value_schema(TABLE, table, with_source_types=with_types),
        key=key_schema(TABLE, table) if with_types else None,
    )
    assert shape_of_row is not None
    return shape_of_row


def envelope(*, with_types: bool = False, **columns: str) -> dict[str, Any]:
    """Return the schema of the events of a table."""
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
    """Return policies that classify these columns; the usual columns are not personal."""
    not_personal += tuple({"title", "amount", "label", "other"} - {*tagged, *not_personal})
    classification = Classification(
        tags={("north", "public", "t", name): frozenset({"NAME"}) for name in tagged},
        not_personal=frozenset(("north", "public", "t", name) for name in not_personal),
    )
    return Policies(PolicyFiles(version=0, digest="", policies=(), classification=classification))


def rules(*, strict: bool = True, target: Any = None, known: Any = None, **declared: Any) -> Rules:
    """Return the rules of a mapping of `id`, `title` and `amount`, changed by `declared`."""
    return Rules(
        name="one",
        mapping=replace(MAPPING, **declared),
        policies=known or policies(),
        strict=strict,
        target=target,
    )


# The contract with which the mapping was planned.
PLANNED = Contract(row=row(**COLUMNS))


class FakeRegistry:
    """A schema registry with fixed schemas, which records the requests."""

    def __init__(self) -> None:
        self.schemas: dict[int, Any] = {}
        self.requested: list[int] = []

    def schema(self, schema_id: int) -> Any:
        self.requested.append(schema_id)
        if schema_id not in self.schemas:
            raise DecodeError("no such schema")
        return self.schemas[schema_id]


class MemoryStore:
    """A store of contracts in memory, which counts its updates."""

    def __init__(self) -> None:
        self.contracts: dict[str, Contract] = {}
        self.updates = 0

    def load(self, mapping: str) -> Contract | None:
        return self.contracts.get(mapping)

    def update(self, mapping: str, change: Callable[[Contract | None], Contract]) -> Contract:
        self.contracts[mapping] = change(self.contracts.get(mapping))
        self.updates += 1
        return self.contracts[mapping]
