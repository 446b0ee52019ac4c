"""Build the pipeline of a mapping for an event of which nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from ..batch.keys import TargetKeys
from ..batch.source import Source, row_source
from ..config.database import Database, find_database
from ..errors import EventError
from ..loading import discovery
from ..loading.quarantine import require_usable
from ..model.batch import Batch
from ..model.dead_letter import DeadLetter
from ..pipeline import MappingSetup, Pipeline, build_pipeline
from ..plugin import TableMapping
from ..postgres.catalog import read_table
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection, connect
from ..transform.event_source import EventSource, topic_source
from ..writer.candidates import candidate_table
from ..writer.echo_guard import EchoGuard
from ..writer.isolation import Written
from ..writer.mapping_lock import MappingLock
from .service import DlqService
from .trace import Trace

APPLICATION = "sink-runner explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A mapping's pipeline whose writes are rolled back, and the keys of the table it writes."""

    pipeline: Pipeline
    trace: Trace
    keys: TargetKeys
    target: Database

    @contextmanager
    def target_session(self) -> Iterator[Connection]:
        """Open a session with the target that cannot write."""
        with classified_errors(), connect(self.target.dsn, APPLICATION) as connection:
            connection.execute("SET default_transaction_read_only = on")
            yield connection

    def write(self, batch: Batch) -> tuple[Written, EventError | None]:
        """Return what writing a batch would do, and the error of its first dead letter."""
        committer, dead_letters = self.pipeline.committer, list[DeadLetter]()
        written = committer.transact(
            lambda connection: committer.write(connection, batch.changes, dead_letters),
            dry=True,
        )
        return written, dead_letters[0].error if dead_letters else None


@contextmanager
def open_dry_run(
    service: DlqService, plugin: discovery.Plugin, *, of_batch: bool
) -> Iterator[DryRun]:
    """Connect the mapping for the block: for rows of a batch run, or for events of its topic."""
    mapping, config = plugin.mapping, service.config
    assert mapping is not None
    database = find_database(config.databases, mapping.target_table.database)
    with classified_errors():
        with connect(database.dsn, APPLICATION) as connection:
            target = read_table(connection, mapping.target_table)
        source = _event_source(service, mapping, of_batch=of_batch)
    plugins, trace = require_usable(plugin, service.plugins.values()), Trace()
    source_dsn = find_database(config.databases, mapping.source_table.database).dsn
    setup = MappingSetup.of_config(plugin, plugins, config, service.policies, target)
    pipeline = build_pipeline(
        replace(setup, marks_origin=False),
        source,
        MappingLock(plugin.name),
        is_echo=EchoGuard(source_dsn, mapping.target_table.topic),
        tracer=trace,
    )
    table = candidate_table(plugin.name) if mapping.derived else target.sql_name
    keys = TargetKeys(plugin.name, mapping, table, pipeline.compiled.columns)
    with closing(pipeline):
        yield DryRun(pipeline=pipeline, trace=trace, keys=keys, target=database)


def _event_source(service: DlqService, mapping: TableMapping, *, of_batch: bool) -> EventSource:
    table, config = mapping.source_table, service.config
    dsn = find_database(config.databases, table.database).reader_dsn
    with connect(dsn, APPLICATION) as connection:
        catalog = read_table(connection, table)
        if of_batch:
            return row_source(Source.of(mapping, catalog, connection))
    return topic_source(
        mapping,
        catalog,
        values=service.schemas,
        keys=service.schemas,
        placeholder=config.capture.placeholder,
    )
