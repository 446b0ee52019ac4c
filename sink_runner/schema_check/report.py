"""`sink-runner schema check`: which schemas to hold against which, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..avro.schema_registry import SchemaRegistry
from ..config import Config
from ..errors import AccessError, ConfigError, DecodeError, RetriableError
from ..masking.policy import Policies
from ..model.findings import Fault
from ..model.findings import Finding as PreflightFinding
from ..plugin import Table, TableMapping
from ..preflight.checklist import check_mapping, check_topic
from .build import contracts, rules_of, source_row
from .contract import Contract
from .findings import Change, Finding, Severity, passes, refused
from .rules import Rules
from .shape import RowShape, key_of, row_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A folder with a registry's schemas: ``<topic>-value.avsc`` and ``<topic>-key.avsc``."""

    folder: Path

    def __post_init__(self) -> None:
        """A folder that is not there has no schema that could be refused."""
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is no folder")

    def row(self, table: Table) -> RowShape | None:
        """The row that was recorded; None if none was."""
        value, key = self.path(table), self.folder / f"{table}-key.avsc"
        if not value.exists():
            return None
        row = _shape(value, row_of)
        if row is None:
            raise ConfigError(f"{value} is no schema of a table's rows")
        return replace(row, key=_shape(key, _key) if key.exists() else None)

    def path(self, table: Table) -> Path:
        return self.folder / f"{table}-value.avsc"


def _shape(path: Path, read: Callable[[Any], T]) -> T:
    """What a file says; a file may hold anything."""
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        raise ConfigError(f"{path} is no schema: {type(fault).__name__}") from fault
    except DecodeError as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def _key(schema: Any) -> tuple[str, ...] | None:
    if schema is None:
        raise TypeError  # a file is there and says nothing
    return key_of(schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a check takes its schemas from; without `config` no database is asked."""

    policies: Policies
    strict: bool
    config: Config | None = None
    registry: SchemaRegistry | None = None
    recorded: Recorded | None = None
    against: Recorded | None = None
    """What the mapping was planned with, in place of what its runner remembers."""


def check(name: str, mapping: TableMapping, sources: Sources) -> list[Finding]:
    """Everything that can be said of one mapping; nothing where all is well."""
    rules, contract = _rules(name, mapping, sources), _contract(name, mapping, sources)
    found = _uncompared(rules, mapping, sources)
    if sources.recorded is not None:
        return found + _of_files(rules, mapping, sources.recorded, contract)
    now: list[Finding] = []
    if sources.config is not None:
        row = source_row(mapping, sources.config)
        now = rules.check(row, contract, "the database")
        found += now
    if sources.registry is not None and mapping.streaming:
        found += _of_registry(rules, mapping, sources.registry, contract, now)
    return list(_once(found))


def check_start(
    name: str,
    mapping: TableMapping,
    sources: Sources,
    beside: Mapping[str, TableMapping] | None = None,
) -> list[Finding]:
    """Everything that the start of `run` checks; without databases, the schemas alone.

    `beside` are the mappings that `run` starts with this one.
    """
    if sources.config is None:
        return check(name, mapping, sources)
    contract = _contract(name, mapping, sources)
    known = () if contract is None else contract.missing | contract.row.columns.keys()
    preflight = check_mapping(name, mapping, sources.config, known=known, beside=beside)
    findings = [*preflight.findings]
    if sources.registry is not None:
        findings += _of_topic(name, mapping, sources.config)
    found = [_of_preflight(finding) for finding in findings]
    if preflight.source is None:
        return found
    return found + check(name, mapping, sources)


def _of_topic(name: str, mapping: TableMapping, config: Config) -> Sequence[PreflightFinding]:
    """What is found of the topic; that Kafka does not answer is no fault of the mapping."""
    try:
        return check_topic(name, mapping, config)
    except (AccessError, RetriableError) as away:
        fault = Fault(
            f"{away}: topic {mapping.source_table.topic!r} was not checked",
            f"a broker at {config.kafka.bootstrap}",
            "start Kafka, or check with --from-catalog",
            refused=False,
        )
        return [PreflightFinding(mapping=name, check="topic", fault=fault)]


def _of_preflight(finding: PreflightFinding) -> Finding:
    return Finding(
        mapping=finding.mapping,
        column=finding.fault.column,
        change=Change.CONFIGURATION,
        severity=Severity.REFUSED if finding.refused else Severity.WARNING,
        problem=finding.fault.problem,
        advice=finding.advice,
        origin=finding.check,
    )


def _rules(name: str, mapping: TableMapping, sources: Sources) -> Rules:
    if sources.config is None:
        return Rules(name=name, mapping=mapping, policies=sources.policies, strict=sources.strict)
    return replace(rules_of(name, mapping, sources.config, sources.policies), strict=sources.strict)


def _contract(name: str, mapping: TableMapping, sources: Sources) -> Contract | None:
    if sources.against is not None:
        row = sources.against.row(mapping.source_table)
        return None if row is None else Contract(row=row)
    return contracts(mapping, sources.config).load(name) if sources.config is not None else None


def _uncompared(rules: Rules, mapping: TableMapping, sources: Sources) -> list[Finding]:
    """A mapping of which the other record has nothing: it can't have changed, for all we know."""
    against = sources.against
    if against is None or against.path(mapping.source_table).exists():
        return []
    problem = f"{against.folder} has no {mapping.source_table.topic}-value.avsc to compare with"
    return [_silent(rules, problem)]


def _of_files(
    rules: Rules, mapping: TableMapping, recorded: Recorded, contract: Contract | None
) -> list[Finding]:
    row = recorded.row(mapping.source_table)
    if row is None:
        return [_silent(rules, f"{recorded.folder} has no {mapping.source_table.topic}-value.avsc")]
    return rules.check(row, contract, f"{mapping.source_table.topic}-value.avsc")


def _of_registry(
    rules: Rules,
    mapping: TableMapping,
    registry: SchemaRegistry,
    contract: Contract | None,
    now: list[Finding],
) -> list[Finding]:
    """The latest schema; it may be of a time that is over, when the table was another."""
    value = registry.latest(f"{mapping.source_table.topic}-value")
    if value is None:
        return []  # no row was captured yet
    schema_id, schema = value
    if contract is not None and schema_id in contract.accepted:
        return []
    row = row_of(schema, schema_id=schema_id)  # its events may have another key than the table
    assert row is not None
    found = rules.check(row, contract, f"schema {schema_id}")
    if refused(now):
        return found
    return [_past(one) if passes(one, row.columns) else one for one in found]


def _past(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSED:
        return finding
    return replace(
        finding,
        severity=Severity.WARNING,
        advice=f"the table is as it was; `sink-runner batch {finding.mapping} --full` brings what "
        "the events in between lack",
    )


def _silent(rules: Rules, problem: str) -> Finding:
    return Finding(
        mapping=rules.name,
        change=Change.SILENT,
        severity=Severity.WARNING,
        problem=problem,
        advice="`sink-runner schema pull` records it",
    )


def _once(found: list[Finding]) -> Iterator[Finding]:
    """The database and the registry mostly say the same: keep what the database says."""
    seen: set[tuple[str, Change]] = set()
    for finding in found:
        if (finding.column, finding.change) not in seen:
            seen.add((finding.column, finding.change))
            yield finding


def as_json(name: str, found: list[Finding]) -> Mapping[str, Any]:
    harm = any(finding.severity is Severity.REFUSED for finding in found)
    warned = any(finding.severity is Severity.WARNING for finding in found)
    result = Severity.REFUSED if harm else Severity.WARNING if warned else Severity.OK
    return {
        "mapping": name,
        "result": result,
        "findings": [
            {
                "column": finding.column,
                "change": finding.change,
                "severity": finding.severity,
                "problem": finding.problem,
                "advice": finding.advice,
                "origin": finding.origin,
            }
            for finding in found
        ],
    }
