"""Put together what a check of one mapping needs from the databases and the policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg

from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..masking.policy import Policies
from ..plugin import Table, TableMapping
from ..postgres.error_classes import classify_error
from ..postgres.session import connect
from .contract import Contracts
from .derive import key_schema, read_shape, value_schema
from .rules import Rules
from .shape import ColumnShape, RowShape, row_of
from .watch import Registry, SchemaWatch


def present_row(dsn: Dsn, table: Table) -> RowShape:
    """A table as it is now.  Raises RetriableError where its database does not answer."""
    try:
        with connect(dsn, "sink-runner schema") as connection:
            shape = read_shape(connection, table)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault
    row = row_of(value_schema(table, shape, told=True), key=key_schema(table, shape))
    assert row is not None
    return row


def source_row(mapping: TableMapping, config: Config) -> RowShape:
    table = mapping.source_table
    return present_row(find_database(config.databases, table.database).reader_dsn, table)


def contracts(mapping: TableMapping, config: Config) -> Contracts:
    return Contracts(find_database(config.databases, mapping.target_table.database).dsn)


def rules_of(name: str, mapping: TableMapping, config: Config, policies: Policies) -> Rules:
    """The rules of a mapping whose databases can be asked."""
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
    registry: Registry,
) -> SchemaWatch:
    """The mapping's watch; it asks for the policies at each look, as they may have been mended."""
    return SchemaWatch(
        name,
        registry,
        rules=lambda: rules_of(name, mapping, config, policies()),
        present=lambda: source_row(mapping, config),
        store=contracts(mapping, config),
    )


def _target(mapping: TableMapping, config: Config) -> Mapping[str, ColumnShape] | None:
    if mapping.derived is not None:
        return None  # the columns are those of a table of ours
    table = mapping.target_table
    return present_row(find_database(config.databases, table.database).dsn, table).columns
