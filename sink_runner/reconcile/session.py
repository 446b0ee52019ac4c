"""Reconcile a mapping from the command line: sessions, locks, signals, progress bar."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

from rich.console import Console

from ..batch.build import open_pipeline
from ..batch.keys import Key
from ..batch.lock import BusyError, locked
from ..batch.plan import BatchPipeline
from ..batch.progress import Progress
from ..batch.run_store import KeyCipher
from ..batch.snapshot import open_source
from ..config import Config
from ..config.database import find_database
from ..config.dsn import Dsn
from ..loading import discovery
from ..openlineage.client import sending, track
from ..openlineage.events import Job, JobKind
from ..postgres.session import Connection, connect
from ..writer.encryption import build_encryptor
from .batch_marker import BatchMarker, HybridMarker, next_batch_run
from .comparison import Comparison, open_target
from .derived_rows import DerivedRows
from .digests import make_digests
from .log_marker import LogMarker, Marker
from .options import Options
from .parts import Parts
from .repair import Repair
from .report import Report
from .run import Reconciliation
from .settlement import Settlement
from .store import ReconcileStore

__all__ = ["Options", "Report", "run"]

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('sink/reconcile/' || %s, 0))"

MakeMarker = Callable[[BatchPipeline, Config, tuple[Connection, Connection]], Marker]
"""Returns a mapping's marker; the sessions are with the source and with the target."""


def make_marker(
    batch: BatchPipeline, config: Config, sessions: tuple[Connection, Connection]
) -> Marker:
    """Return the marker of a mapping; `sessions` are with the source and with the target."""
    rows = BatchMarker(batch, *sessions)
    if not batch.mapping.streaming:
        return rows
    events = LogMarker.of_config(batch.name, batch.mapping, config, sessions, batch.stop)
    return HybridMarker(batch, events, rows) if next_batch_run(batch, config.schedule) else events


def run(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    config: Config,
    options: Options,
    *,
    stop: threading.Event,
) -> Report:
    """Reconcile the mapping.  Raises BusyError while another process reconciles it.

    A run that repairs, or whose mapping has no events, takes the lock of batch runs as well, and
    raises BusyError while one writes the target.
    """
    mapping = plugin.mapping
    assert mapping is not None
    dsn = find_database(config.databases, mapping.target_table.database).dsn
    writes = options.repair and not options.dry_run
    locks_target = options.repair or not mapping.streaming
    lock = locked(dsn, plugin.name, mapping.target, wait=False, stop=stop)
    with (
        lock if locks_target else nullcontext(),
        open_parts(plugin, plugins, config, options, stop=stop) as parts,
        sending(config.lineage) as client,
        track(
            client,
            Job(JobKind.RECONCILIATION, plugin.name),
            partial(parts.batch.describe, writes=writes),
        ) as run,
        Progress(plugin.name, Console(stderr=True)) as progress,
    ):
        report = Reconciliation(parts, options, progress).run()
        run.rows, run.aborted = report.counts["repaired"], report.interrupted
        return report


@contextmanager
def open_parts(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    config: Config,
    options: Options,
    *,
    stop: threading.Event,
    make_marker: MakeMarker = make_marker,
    is_alone: bool = True,
) -> Iterator[Parts]:
    """Connect one mapping, and lock out another reconciliation of it if it `is_alone`."""
    assert plugin.mapping is not None
    dsn = find_database(config.databases, plugin.mapping.target_table.database).dsn
    with (
        open_pipeline(plugin, plugins, config, stop) as batch,
        closing(connect(dsn, f"sink-runner reconcile {plugin.name}")) as control,
        closing(open_source(batch.source_dsn, plugin.name)) as reader,
        _open_target(batch, config, dsn) as target,
    ):
        if is_alone:
            _lock(control, plugin.name)
        marker = make_marker(batch, config, (reader, control))
        parts = _build_parts(batch, config, options, (reader, target, control), marker)
        cipher = KeyCipher(f"sink.reconcile_digest/{plugin.name}", parts.store.key_encryptor)
        yield replace(parts, digests=make_digests(batch, plugins, cipher))


@contextmanager
def _open_target(batch: BatchPipeline, config: Config, dsn: Dsn) -> Iterator[Connection]:
    columns, create = batch.deletions.keys.columns, list[str]()
    if batch.derivation is not None:
        batch.committer.ask(lambda _connection: None)  # its session creates the candidate table
        create.append(batch.derivation.create_touched)
    with open_target(dsn, batch.name, columns, build_encryptor(config), *create) as connection:
        yield connection


def _lock(control: Connection, name: str) -> None:
    if control.execute(_LOCK, (name,)).fetchone() != (True,):
        raise BusyError(f"mapping {name!r} is being reconciled by another process")


def _build_parts(
    batch: BatchPipeline,
    config: Config,
    options: Options,
    sessions: tuple[Connection, Connection, Connection],
    marker: Marker,
) -> Parts:
    reader, target, control = sessions
    comparison = Comparison(target, batch.mapping, batch.deletions.keys)
    settlement = Settlement(
        batch.mapping, comparison, batch.deletions, marker, partial(_find_callbacks, batch, target)
    )
    compiled = batch.pipeline.compiled
    unmasked = compiled.source_key_unmasked and {*batch.deletions.keys.names} <= set(
        compiled.unmasked
    )
    return Parts(
        batch=batch,
        reader=reader,
        target=target,
        comparison=comparison,
        settlement=settlement,
        repair=Repair(batch, settlement, dry_run=options.dry_run) if options.repair else None,
        control=control,
        derived=DerivedRows(batch, batch.derivation, target) if batch.derivation else None,
        digests=None,
        next_batch_run=next_batch_run(batch, config.schedule),
        store=ReconcileStore(control, batch.name, build_encryptor(config), unmasked=unmasked),
    )


def _find_callbacks(batch: BatchPipeline, target: Connection, keys: Sequence[Key]) -> set[int]:
    """Return the positions of keys whose rows came by a callback of the API."""
    rows = batch.committer.callbacks
    return rows.among(target, keys) if rows else set()
