"""A mapping held against the catalogs of both databases, before any row moves."""

from __future__ import annotations

from ..errors import ConfigError
from ..plugin import TableMapping
from ..postgres.types import declared_type
from .catalog import TableCatalog


def check_target(mapping: TableMapping, target: TableCatalog) -> None:
    declared = {column.name for column in mapping.columns}
    missing = [] if mapping.candidates else sorted(declared - target.columns.keys())
    if missing:
        raise ConfigError(f"{mapping.target} has no column {', '.join(missing)}")
    if frozenset(mapping.key) not in target.unique:
        raise ConfigError(
            f"{mapping.target} has no unique constraint on ({', '.join(mapping.key)})"
        )
    check_version(mapping, target)


# Types of which a later change has a greater value, if the column counts or tells the time.
_GROWING = ("int2", "int4", "int8", "numeric", "date", "timestamp", "timestamptz")


def check_version(mapping: TableMapping, target: TableCatalog) -> None:
    """Refuse a version column whose type does not order its values as time does.

    As text 9 is greater than 10, and of two random uuids either may be: updates would be lost.
    """
    version = mapping.conflict.version
    if version is None:
        return
    declared = {column.name: column.type for column in mapping.columns}[version]
    found = target.columns.get(version)
    pg = declared_type(declared or "") if mapping.candidates or not found else found.pg
    if not pg.is_builtin(*_GROWING):
        rule = mapping.conflict.strategy.name.lower()
        raise ConfigError(
            f"{rule}: column {version!r} of {mapping.target} is of type {pg.declared}, whose "
            "order is not the order of time; expected an integer, numeric, date, timestamp or "
            "timestamptz: name such a column as the version, or use source_wins()"
        )


def check_source(
    mapping: TableMapping, source: TableCatalog, known: frozenset[str] = frozenset()
) -> None:
    """`known` columns were there once: that they are gone is for the schema check to tell."""
    missing = sorted(set(mapping.source_columns) - source.columns.keys() - known)
    if missing:
        raise ConfigError(f"{mapping.source} has no column {', '.join(missing)}")
    if mapping.old_row and not source.full_identity:
        raise ConfigError(
            f"the mapping needs the old row: ALTER TABLE {source.sql_name} REPLICA IDENTITY FULL"
        )
    if not mapping.events:
        return  # a batch reads whole rows, and what is gone is known by its target key
    beyond = sorted(set(wanted_before(mapping)) - source.primary_key)
    if beyond and not source.full_identity:
        raise ConfigError(
            f"a delete in {mapping.source} does not carry {', '.join(beyond)}, which the target's "
            f"key needs: ALTER TABLE {source.sql_name} REPLICA IDENTITY FULL"
        )
    if beyond and not mapping.old_row:
        raise ConfigError(
            f"an update of {', '.join(beyond)} gives the row another key in {mapping.target} and "
            "would leave the old one there: set old_row=True"
        )


def wanted_before(mapping: TableMapping) -> tuple[str, ...]:
    if mapping.old_row:
        return mapping.source_columns
    key = mapping.candidates.key if mapping.candidates else mapping.key
    used = [name for c in mapping.columns if c.name in key for name in c.sources]
    return tuple(dict.fromkeys(used))
