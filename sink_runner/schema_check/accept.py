"""A person says that a change is meant."""

from __future__ import annotations

from dataclasses import replace

from ..avro.schema_registry import SchemaRegistry
from ..config import Config
from ..errors import ConfigError
from ..masking.policy import Policies
from ..plugin import TableMapping
from .build import contracts, rules_of, source_row
from .contract import Contract
from .findings import Change, Finding, refused
from .shape import RowShape, row_of

_NEVER = {
    Change.PERSONAL: "what looks personal is classified, not accepted",
    Change.FORM: "no setting of ours reads it",
}


def accept(
    name: str, mapping: TableMapping, config: Config, policies: Policies, schema_id: int | None
) -> list[Finding]:
    """Plan the mapping with the table as it is, or with a schema; return what was accepted."""
    row = source_row(mapping, config)
    if schema_id is not None:
        row = replace(_registered(config, schema_id), key=row.key)
    kept = contracts(mapping, config)
    contract = kept.load(name) or Contract(row=row)
    rules = rules_of(name, mapping, config, policies)
    found = refused(rules.check(row, contract))
    for finding in found:
        if finding.change in _NEVER:
            raise ConfigError(f"{finding.text} ({_NEVER[finding.change]})")
    kept.save(name, contract.accepting(row, frozenset(rules.named)))
    return found


def _registered(config: Config, schema_id: int) -> RowShape:
    row = row_of(SchemaRegistry(config.registry.url).schema(schema_id), schema_id=schema_id)
    if row is None:
        raise ConfigError(f"schema {schema_id} is no change event's")
    return row
