"""Build what a check of one mapping needs from the databases and the policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..avro import SchemaSource
from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..masking.policy import Policies
from ..plugin import Table, TableMapping
from .catalog_schema import key_schema, read_current_shape, value_schema
from .contract import Contracts
from .rules import Rules
from .schema_watch import SchemaWatch
from .shape import ColumnShape, RowShape, row_of


def present_row(dsn: Dsn, table: Table) -> RowShape:
    """Return the current row of a table; RetriableError where its database does not answer."""
    shape = read_current_shape(dsn, table)
    row = row_of(value_schema(table, shape, with_source_types=True), key=key_schema(table, shape))
    assert row is not None
    return row


def source_row(mapping: TableMapping, config: Config) -> RowShape:
    table = mapping.source_table
    return present_row(find_database(config.databases, table.database).reader_dsn, table)


def contracts(mapping: TableMapping, config: Config) -> Contracts:
    return Contracts(find_database(config.databases, mapping.target_table.database).dsn)


def rules_of(name: str, mapping: TableMapping, config: Config, policies: Policies) -> Rules:
    """Return the rules of a mapping whose databases are configured."""
    return Rules(
        name=name,
        mapping=mapping,
        policies=policies,
        strict=config.schema.strict,
        target=_target(mapping, config),
    )


def watch(
    name: str,
    mapping: TableMapping,
    config: Config,
    policies: Callable[[], Policies],
    registry: SchemaSource,
) -> SchemaWatch:
    """Return the mapping's watch; it gets the policies for each check, as they may be corrected."""
    return SchemaWatch(
        name,
        registry,
        rules=lambda: rules_of(name, mapping, config, policies()),
        present=lambda: source_row(mapping, config),
        store=contracts(mapping, config),
    )


def _target(mapping: TableMapping, config: Config) -> Mapping[str, ColumnShape] | None:
    if mapping.derived is not None:
        return None  # its columns are those of the runner's candidate table
    table = mapping.target_table
    return present_row(find_database(config.databases, table.database).dsn, table).columns
