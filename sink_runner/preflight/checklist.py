"""The checks of a mapping before it starts: one list, the same for every command.

`run`, `batch` and `schema check` call `check_mapping`, so that none of them accepts what another
one refuses. `check_topic` needs Kafka. All faults of a mapping are reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import structlog

from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..kafka.connection import KafkaConnection
from ..kafka.topic_checks import read_topic, topic_faults
from ..model.findings import Fault, Finding, refuse
from ..plugin import Table, TableMapping
from ..postgres.catalog import TableCatalog, quoted, read_table
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from . import (
    capture_checks,
    origin_limit,
    privilege_checks,
    query_checks,
    source_checks,
    source_cluster,
    target_checks,
    type_checks,
)
from .subject import Subject
from .table_facts import TableFacts, read_facts

Check = Callable[[Subject], Iterable[Fault]]

CHECKS: Mapping[str, Check] = {
    "source_kind": source_checks.check_kind,
    "source_encoding": source_checks.check_encoding,
    "source_columns": source_checks.check_columns,
    "replica_identity": source_checks.check_replica_identity,
    "publication": source_checks.check_publication,
    "topic": source_checks.check_topic,
    "capture": capture_checks.check_capture,
    "capture_role": capture_checks.check_capture_role,
    "source_row_security": source_checks.check_row_security,
    "source_cluster": source_cluster.check_cluster,
    "target_kind": target_checks.check_kind,
    "target_columns": target_checks.check_columns,
    "types": type_checks.check_types,
    "constants": type_checks.check_constants,
    "target_key": target_checks.check_key,
    "target_unique": target_checks.check_unique,
    "contested": target_checks.check_contested,
    "version": target_checks.check_version,
    "casts": type_checks.check_casts,
    "lookups": query_checks.check_lookups,
    "query": query_checks.check_query,
    "derivation": query_checks.check_derivation,
    "reader_privileges": privilege_checks.check_reader,
    "writer_privileges": privilege_checks.check_writer,
    "control": privilege_checks.check_control,
    "origins": origin_limit.check_origin_limit,
    "target_row_security": target_checks.check_row_security,
}
"""In the order of the report."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The findings of a mapping, and the catalogs of its tables, None if a table does not exist."""

    findings: Sequence[Finding]
    source: TableCatalog | None
    target: TableCatalog | None

    def catalogs(self, *, batch: bool = False) -> tuple[TableCatalog, TableCatalog]:
        """Return the catalogs of source and target; raise ConfigError with all refused findings."""
        refuse(self.findings, batch=batch)
        assert self.source is not None
        assert self.target is not None
        return self.source, self.target


def check_mapping(
    name: str,
    mapping: TableMapping,
    config: Config,
    *,
    known: Collection[str] = (),
    beside: Mapping[str, TableMapping] | None = None,
) -> Preflight:
    """Run every check of `CHECKS`.

    `known` are columns that the source once had: the schema check, which knows their changes,
    reports that one is missing. `beside` are the mappings that run with this one and share the
    replication origins of the target's server. Raises RetriableError where a database does not
    answer, and ConfigError where the configuration has no such database.
    """
    with classified_errors(), ExitStack() as stack:
        open_session = cache(lambda dsn: stack.enter_context(_open(dsn)))
        subject, found = read_subject(
            name, mapping, config, open_session, known=known, beside=beside
        )
        if subject is None:
            return Preflight(found, None, None)
        return Preflight(list(_findings(subject)), subject.source_catalog, subject.target_catalog)


def read_subject(
    name: str,
    mapping: TableMapping,
    config: Config,
    open_session: Callable[[Dsn], Connection],
    *,
    known: Collection[str] = (),
    beside: Mapping[str, TableMapping] | None = None,
) -> tuple[Subject | None, list[Finding]]:
    """Return what the checks of `CHECKS` need; None, with the findings, if a table is missing."""
    source, target = mapping.source_table, mapping.target_table
    reading = open_session(find_database(config.databases, source.database).reader_dsn)
    writing = open_session(find_database(config.databases, target.database).dsn)
    facts = read_facts(reading, source), read_facts(writing, target)
    found = [
        *_unreachable(name, source, facts[0], reading),
        *_unreachable(name, target, facts[1], writing),
    ]
    if found or facts[0] is None or facts[1] is None:
        return None, found
    subject = Subject(
        name=name,
        mapping=mapping,
        config=config,
        source=facts[0],
        target=facts[1],
        source_catalog=read_table(reading, source),
        target_catalog=read_table(writing, target),
        reading=reading,
        writing=writing,
        open_session=open_session,
        known=frozenset(known),
        beside=beside or {},
    )
    return subject, []


def check_topic(name: str, mapping: TableMapping, config: Config) -> Sequence[Finding]:
    """Check the topic of a mapping that reads one.

    Raises RetriableError where Kafka does not answer.
    """
    if not mapping.streaming:
        return ()
    kafka, topic = KafkaConnection.of(config.kafka), mapping.source_table.topic
    faults = topic_faults(kafka, topic, read_topic(kafka, topic))
    return [Finding(mapping=name, check="topic", fault=fault) for fault in faults]


def log_warnings(findings: Iterable[Finding]) -> None:
    """Log the findings that do not prevent a start."""
    for finding in findings:
        if not finding.refused:
            structlog.get_logger().warning(
                "preflight_warned",
                mapping=finding.mapping,
                check=finding.check,
                problem=finding.fault.problem,
                advice=finding.advice,
            )


def _open(dsn: Dsn) -> Connection:
    return connect(dsn, "sink-runner preflight")


def _findings(subject: Subject) -> Iterator[Finding]:
    for check, find in CHECKS.items():
        for fault in find(subject):
            yield Finding(mapping=subject.name, check=check, fault=fault)


def _unreachable(
    name: str, table: Table, found: TableFacts | None, session: Connection
) -> Iterator[Finding]:
    """A table that does not exist, or whose schema the role may not use."""
    if found is None:
        fault = Fault(
            f"table {table} does not exist",
            "a table of this name",
            "create it, or correct the name in the plugin",
        )
    elif not found.usable_schema:
        role = session.info.user
        fault = Fault(
            f"role {role} may not use schema {table.schema} of database {table.database}",
            "USAGE of the schema",
            f"GRANT USAGE ON SCHEMA {quoted(table.schema)} TO {quoted(role)}",
        )
    else:
        return
    yield Finding(mapping=name, check="tables", fault=fault)
