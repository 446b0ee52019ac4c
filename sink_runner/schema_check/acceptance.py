"""Accept a change of a source table, as a person decides."""

from __future__ import annotations

from dataclasses import replace

from ..avro.schema_cache import SchemaCache
from ..config import Config
from ..errors import ConfigError
from ..masking.policy import Policies
from ..plugin import TableMapping
from ..postgres.session import Connection
from ..writer.audit import audit
from .contract import Contract
from .factory import contracts, rules_of, source_row
from .rules import Rules
from .schema_findings import Change, Finding, refused
from .shape import RowShape, avro_name, row_of, source_of

_NEVER = {
    Change.PERSONAL: "a person classifies such a column; it cannot be accepted",
    Change.FORM: "the runner cannot decode it",
}


def accept_changes(
    name: str,
    mapping: TableMapping,
    config: Config,
    policies: Policies,
    schema_id: int | None,
    *,
    user: str,
) -> list[Finding]:
    """Store the current table, or a schema, as the mapping's contract; return what was accepted.

    The audit log has the user.
    """
    row = source_row(mapping, config)
    if schema_id is not None:
        row = replace(_registered(config, schema_id, mapping.source_table.topic), key=row.key)
    store = contracts(mapping, config)
    contract = store.load(name) or Contract(row=row)
    rules = rules_of(name, mapping, config, policies)
    found = refused(rules.check(row, contract))
    for finding in found:
        if finding.change in _NEVER:
            raise ConfigError(f"{finding.text} ({_NEVER[finding.change]})")
    store.update(
        name,
        lambda current: (current or contract).accepting(row, frozenset(rules.named)),
        also=lambda connection: _audit(connection, rules, found, schema_id, user),
    )
    return found


def _audit(
    connection: Connection, rules: Rules, found: list[Finding], schema_id: int | None, user: str
) -> None:
    target = rules.mapping.target_table
    audit(
        connection,
        event_type="sync",
        source=rules.mapping.source_table.database,
        target=target.database,
        table=f"{target.schema}.{target.name}",
        user=user[:100],
        details={
            "mapping": rules.name,
            "schema_accepted": [finding.problem for finding in found],
            "schema_id": schema_id,
        },
    )


def _registered(config: Config, schema_id: int, source: str) -> RowShape:
    schema = SchemaCache(config.registry).schema(schema_id)
    row = row_of(schema, schema_id=schema_id)
    if row is None:
        raise ConfigError(f"schema {schema_id} is not a Debezium envelope")
    owner = source_of(schema)
    if owner != avro_name(source):
        raise ConfigError(f"schema {schema_id} is of {owner or 'no table'}, not of {source}")
    return row
