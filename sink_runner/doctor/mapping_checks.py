"""The checks of one mapping, which `run`, `batch`, `schema check` and `policies check` make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, partial

from ..avro.schema_cache import SchemaCache
from ..config.database import find_database
from ..dlq.key_rotation import check_fingerprints
from ..model.findings import Fault, Finding
from ..plugin import TableMapping
from ..postgres.migrations import has_tables
from ..preflight.checklist import CHECKS, Check, read_subject
from ..preflight.subject import Subject
from ..schema_check import checker, schema_findings
from ..schema_check.checker import Sources
from ..schema_check.factory import contracts
from ..writer.encryption import build_encryptor
from .check_group import CheckGroup, Find, NotCheckedError
from .deployment import Deployment


def mapping_group(name: str, mapping: TableMapping, deployment: Deployment) -> CheckGroup:
    """Return the checks of a mapping, of its databases and of its schemas."""
    checks = MappingChecks(name, mapping, deployment)
    found: dict[str, Find] = {
        "tables": checks.find_tables,
        **{check: partial(checks.run, find) for check, find in CHECKS.items()},
        "schema": checks.check_schema,
        "registered_schema": checks.check_registered_schema,
        "dead_letter_key": checks.check_dead_letter_key,
    }
    return CheckGroup(
        name=f"mapping {name}",
        mapping=name,
        checks=found,
        start="start the system that does not answer",
        correct=f"correct the mapping of plugin {name!r}",
        close=checks.sessions.close,
    )


class MappingChecks:
    """Checks that share the mapping's tables and its sessions."""

    def __init__(self, name: str, mapping: TableMapping, deployment: Deployment) -> None:
        self.sessions = deployment.sessions()
        self._name, self._mapping, self._deployment = name, mapping, deployment

    def find_tables(self) -> Iterable[Finding]:
        """Find that a table does not exist, or that its schema may not be used."""
        return self._read[1]

    def run(self, check: Check) -> Iterable[Fault]:
        """Make one of the checks of `preflight`."""
        subject, _ = self._read
        if subject is None:
            raise NotCheckedError
        return check(subject)

    @cached_property
    def _read(self) -> tuple[Subject | None, list[Finding]]:
        name, mapping, deployment = self._name, self._mapping, self._deployment
        return read_subject(
            name,
            mapping,
            deployment.config,
            self.sessions.open,
            known=self._known,
            beside=deployment.running,
        )

    @cached_property
    def _known(self) -> frozenset[str]:
        contract = contracts(self._mapping, self._deployment.config).load(self._name)
        return frozenset() if contract is None else contract.known

    def check_schema(self) -> Iterator[Fault]:
        """Find changes of the source table that harm the mapping."""
        return self._schema_faults(self._sources())

    def check_registered_schema(self) -> Iterator[Fault]:
        """Find them in the registry's latest schema, too."""
        if not self._mapping.streaming:
            return iter(())
        known = [fault.problem for fault in self.check_schema()]
        registry = SchemaCache(self._deployment.config.registry)
        found = self._schema_faults(self._sources(registry))
        return (fault for fault in found if fault.problem not in known)

    def _schema_faults(self, sources: Sources) -> Iterator[Fault]:
        if self._read[0] is None:
            raise NotCheckedError
        for found in checker.check(self._name, self._mapping, sources):
            if found.severity is not schema_findings.Severity.OK:
                yield Fault(
                    found.problem + (f" ({found.origin})" if found.origin else ""),
                    "a source table that fits the mapping",
                    found.advice,
                    column=found.column,
                    refused=found.severity is schema_findings.Severity.REFUSED,
                )

    def _sources(self, registry: SchemaCache | None = None) -> Sources:
        config = self._deployment.config
        return Sources(
            policies=self._deployment.policies(),
            strict=config.schema.strict,
            config=config,
            registry=registry,
        )

    def check_dead_letter_key(self) -> Iterable[Fault]:
        """Raise ConfigError where deferred events were encrypted with a key that is missing."""
        config = self._deployment.config
        dsn = find_database(config.databases, self._mapping.target_table.database).dsn
        if has_tables(self.sessions.open(dsn)):
            check_fingerprints(dsn, self._name, build_encryptor(config))
        return ()
