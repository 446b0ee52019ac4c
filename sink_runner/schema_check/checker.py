"""`sink-runner schema check`: choose the schemas to compare, and report the findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..avro.schema_cache import SchemaCache
from ..config import Config
from ..errors import AccessError, RetriableError
from ..masking.policy import Policies
from ..model.findings import Fault
from ..model.findings import Finding as PreflightFinding
from ..plugin import TableMapping
from ..preflight.checklist import check_mapping, check_topic
from .contract import Contract
from .factory import contracts, rules_of, source_row
from .rules import Rules
from .schema_files import Recorded
from .schema_findings import Change, Finding, Severity, passes, refused, worst
from .shape import row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a check reads its schemas; without `config` it queries no database."""

    policies: Policies
    strict: bool
    config: Config | None = None
    registry: SchemaCache | None = None
    recorded: Recorded | None = None
    against: Recorded | None = None
    """The schemas to compare with, in place of the mapping's stored contract."""


def check(name: str, mapping: TableMapping, sources: Sources) -> list[Finding]:
    """Return the findings of one mapping; empty where there are none."""
    rules, contract = _rules(name, mapping, sources), _contract(name, mapping, sources)
    found = _uncompared(rules, mapping, sources)
    if sources.recorded is not None:
        return found + _of_files(rules, mapping, sources.recorded, contract)
    current: list[Finding] = []
    if sources.config is not None:
        row = source_row(mapping, sources.config)
        current = rules.check(row, contract, "the database")
        found += current
    if sources.registry is not None and mapping.streaming:
        found += _of_registry(rules, mapping, sources.registry, contract, current)
    return list(_once(found))


def check_start(
    name: str,
    mapping: TableMapping,
    sources: Sources,
    beside: Mapping[str, TableMapping] | None = None,
) -> list[Finding]:
    """Return the findings of all checks at the start of `run`; without databases, of schemas.

    `beside` are the mappings that `run` starts with this one.
    """
    if sources.config is None:
        return check(name, mapping, sources)
    contract = _contract(name, mapping, sources)
    known = () if contract is None else contract.known
    preflight = check_mapping(name, mapping, sources.config, known=known, beside=beside)
    findings = [*preflight.findings]
    if sources.registry is not None:
        findings += _of_topic(name, mapping, sources.config)
    found = [_of_preflight(finding) for finding in findings]
    if preflight.source is None:
        return found
    return found + check(name, mapping, sources)


def _of_topic(name: str, mapping: TableMapping, config: Config) -> Sequence[PreflightFinding]:
    """Return the findings of the topic; without an answer of Kafka, a warning."""
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
    """Warn of a mapping that the other record lacks: its changes cannot be found."""
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
    registry: SchemaCache,
    contract: Contract | None,
    current: list[Finding],
) -> list[Finding]:
    """Check the latest schema, which may be older than the current table."""
    value = registry.latest(f"{mapping.source_table.topic}-value")
    if value is None:
        return []  # no row was captured yet
    schema_id, schema = value
    if contract is not None and schema_id in contract.accepted:
        return []
    row = row_of(schema, schema_id=schema_id)  # its events may have another key than the table
    assert row is not None
    found = rules.check(row, contract, f"schema {schema_id}")
    if refused(current):
        return found
    return [_after_undo(one) if passes(one, row.columns) else one for one in found]


def _after_undo(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSED:
        return finding
    return replace(
        finding,
        severity=Severity.WARNING,
        advice=f"the change was undone; `sink-runner batch {finding.mapping} --full` writes what "
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
    """Drop a finding of the registry that the database has, too."""
    seen: set[tuple[str, Change]] = set()
    for finding in found:
        if (finding.column, finding.change) not in seen:
            seen.add((finding.column, finding.change))
            yield finding


def as_json(name: str, found: list[Finding]) -> Mapping[str, Any]:
    return {
        "mapping": name,
        "result": worst(found),
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
