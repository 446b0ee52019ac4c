"""Build the pipeline of a dead letter's mapping, whose writes are rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ..batch.source import Source, row_source
from ..config.database import find_database
from ..errors import EventError
from ..loading import discovery
from ..loading.quarantine import require_usable
from ..model.batch import Batch
from ..model.dead_letter import DeadLetter
from ..pipeline import MappingSetup, Pipeline, build_pipeline
from ..plugin import TableMapping
from ..postgres.catalog import read_table
from ..postgres.error_classes import classified_errors
from ..postgres.session import connect
from ..transform.event_source import EventSource, topic_source
from ..writer.mapping_lock import MappingLock
from .service import DlqService
from .trace import Trace


@contextmanager
def open_pipeline(
    bench: DlqService, plugin: discovery.Plugin, trace: Trace, *, of_batch: bool
) -> Iterator[Pipeline]:
    """Connect the mapping for the block; `trace` records the results of its steps."""
    mapping, config = plugin.mapping, bench.config
    assert mapping is not None
    target_dsn = find_database(config.databases, mapping.target_table.database).dsn
    with classified_errors():
        with connect(target_dsn, "sink-runner dlq") as connection:
            target = read_table(connection, mapping.target_table)
        source = _event_source(bench, mapping, of_batch=of_batch)
    plugins = require_usable(plugin, bench.plugins.values())
    setup = MappingSetup.of_config(plugin, plugins, config, bench.policies, target)
    with closing(build_pipeline(setup, source, MappingLock(plugin.name), tracer=trace)) as pipeline:
        yield pipeline


def write_and_roll_back(pipeline: Pipeline, batch: Batch) -> tuple[int, EventError | None]:
    """Return how many rows a batch would change, and the error of its first dead letter."""
    committer, dead_letters = pipeline.committer, list[DeadLetter]()
    written = committer.transact(
        lambda connection: committer.write(connection, batch.changes, dead_letters).rows, dry=True
    )
    return written, dead_letters[0].error if dead_letters else None


def _event_source(bench: DlqService, mapping: TableMapping, *, of_batch: bool) -> EventSource:
    table, config = mapping.source_table, bench.config
    dsn = find_database(config.databases, table.database).reader_dsn
    with connect(dsn, "sink-runner dlq") as connection:
        catalog = read_table(connection, table)
        if of_batch:
            return row_source(Source.of(mapping, catalog, connection))
    return topic_source(
        mapping,
        catalog,
        values=bench.schemas,
        keys=bench.schemas,
        placeholder=config.capture.placeholder,
    )
