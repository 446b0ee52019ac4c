"""Run a batch from the command line: signals, lock, progress bar and report."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from rich.console import Console

from ..config import Config
from ..config.database import find_database
from ..loading import discovery
from ..openlineage.client import sending, track
from ..openlineage.events import Job, JobKind
from ..signals import stopped_by_signals
from .build import open_pipeline
from .lock import BusyError, locked
from .plan import Options
from .progress import Progress
from .report import Report
from .run import BatchRun

__all__ = ["BUSY", "Options", "Report", "run"]

BUSY = 75
"""The exit code if another run holds the target's lock: EX_TEMPFAIL."""


def run(
    plugin: discovery.Plugin,
    plugins: Sequence[discovery.Plugin],
    config: Config,
    options: Options,
    *,
    wait: bool,
) -> Report | None:
    """Run the mapping's batch; print to stderr and return None if another run holds the target."""
    mapping = plugin.mapping
    assert mapping is not None
    stop = threading.Event()
    console = Console(stderr=True)
    dsn = find_database(config.databases, mapping.target_table.database).dsn
    try:
        with (
            stopped_by_signals(stop),
            locked(dsn, plugin.name, mapping.target, wait=wait, stop=stop) as lock,
            open_pipeline(plugin, plugins, config, stop) as batch,
            sending(config.lineage, unless=options.dry_run) as client,
            track(client, Job(JobKind.BATCH, plugin.name), batch.describe) as run,
            Progress(plugin.name, console) as progress,
        ):
            report = BatchRun(batch, options, lock, progress).run()
            run.rows, run.aborted = report.counts["written"], report.interrupted
            return report
    except BusyError as fault:
        print(f"sink-runner: {fault}", file=sys.stderr)
        return None
