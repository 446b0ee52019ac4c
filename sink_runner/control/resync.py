"""Make a target equal to its source by a full batch run, after everything was checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from ..batch import session
from ..batch.build import open_pipeline
from ..batch.plan import BatchPipeline
from ..batch.snapshot import open_source
from ..config import Config
from ..errors import ConfigError
from ..loading.discovery import Plugin
from ..plugin import Ignore, TableMapping
from ..postgres.catalog import qualified
from ..postgres.error_classes import classified_errors
from ..postgres.session import Connection
from .plan import Plan
from .target import Target, refuse_paused

_REQUEST = """
INSERT INTO sink.control_request (mapping, kind, requested_by, taken_by, taken_at)
VALUES (%s, 'resync', %s, %s, now()) RETURNING request
"""
_FINISH = """
UPDATE sink.control_request SET finished_at = now(), outcome = %s, detail = %s WHERE request = %s
"""


def plan_resync(
    plugin: Plugin,
    plugins: Sequence[Plugin],
    config: Config,
    run: Callable[[str], str],
    *,
    even_if_paused: bool = False,
) -> Plan:
    """Check everything that a full batch run needs, and return what it would do.

    `run` does it for the user of a name.  Raises BusyError if the mapping is paused; ConfigError
    where a table, a column, a grant, a lookup or a policy is not as the mapping needs it, or where
    the source is empty and the target is not.
    """
    target = target_of(plugin, config)
    if not even_if_paused:
        refuse_paused(target)
    with open_pipeline(plugin, plugins, config, threading.Event()) as batch:
        read, there = _count_rows(batch)
        if there and not read and _removes(batch):
            raise ConfigError(
                f"{batch.mapping.source} has no row, so a resync would empty "
                f"{batch.mapping.target}, which has {there:,}: check the source. If that is what "
                f"you want, run `sink-runner batch {batch.name} --full`"
            )
        lines = [*_describe(batch, read, there)]
    return Plan(lines, f"sink-runner resync {plugin.name}", run)


def run_resync(
    plugin: Plugin, plugins: Sequence[Plugin], config: Config, user: str
) -> session.Report | None:
    """Run the full batch and record who wanted it; None if another run writes the target."""
    target = target_of(plugin, config)
    with target.session() as connection:
        values = (plugin.name, user, "sink-runner resync")
        ((request,),) = connection.execute(_REQUEST, values).fetchall()
    outcome, detail = "failed", ""
    try:
        report = session.run(plugin, plugins, config, session.Options(full=True), wait=False)
        if report is not None:
            outcome = "done" if report.is_good(0) else "failed"
            detail = json.dumps(report.counts)
    finally:
        with target.session() as connection:
            connection.execute(_FINISH, (outcome, detail, request))
    return report


def target_of(plugin: Plugin, config: Config) -> Target:
    if plugin.mapping is None:
        raise ConfigError(f"plugin {plugin.name!r} is global: it has no table to read")
    return Target(plugin.name, plugin.mapping, config)


def _count_rows(batch: BatchPipeline) -> tuple[int, int]:
    """Return the numbers of rows of the source and of the target."""
    with classified_errors(), closing(open_source(batch.source_dsn, batch.name)) as reader:
        read = batch.source.count(reader, "true")
    return read, batch.committer.ask(lambda connection: _count(connection, batch.mapping))


def _count(connection: Connection, mapping: TableMapping) -> int:
    table = mapping.target_table
    query = f"SELECT count(*) FROM {qualified(table.schema, table.name)}"
    ((found,),) = connection.execute(query.encode()).fetchall()
    return int(found)


def _removes(batch: BatchPipeline) -> bool:
    return not isinstance(batch.mapping.on_remove, Ignore) and not batch.beside


def _describe(batch: BatchPipeline, read: int, there: int) -> Iterator[str]:
    mapping = batch.mapping
    yield "checked: both databases answer; columns, grants, lookups and policies are as needed"
    yield f"{read:,} rows of {mapping.source} are read; {mapping.target} has {there:,}"
    yield "they are filtered, mapped, masked and written as events are: newer target rows stay"
    if _removes(batch):
        whose = "of this mapping " if mapping.shared_target else ""
        yield f"target rows {whose}that the source no longer has are removed, except callbacks'"
    else:
        reason = f"{', '.join(batch.beside)} may have written it" if batch.beside else "on_remove"
        yield f"no target row is removed: {reason}"
    yield "not reversible; if it is stopped, the next `sink-runner batch --full` resumes it"
