"""Measure Quix Streams' PostgreSQL sink, which runs in its own virtual environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from .. import passes
from ..passes import PassResult
from ..process import MeasuredProcess, start_process
from ..recording import TOPIC, Recording
from ..report import Report
from ..stack import HERE, TARGET, BenchStack

VERSION = "3.28.1"
NAME = f"Quix Streams {VERSION}"
SWEEP = (2_000, 10_000)
_REQUIREMENTS = str(HERE / "peers" / "quix.txt")


def prepare(bench: BenchStack, recording: Recording, report: Report) -> Callable[[], PassResult]:
    """Find the fastest commit size; return a function that runs a pass with it."""
    python = _install(bench)

    def run_pass(size: int) -> PassResult:
        return passes.run_pass(bench, recording, _start(bench, python, recording, size))

    rates = {size: run_pass(size).rate for size in SWEEP}
    fastest = max(rates, key=lambda size: rates[size])
    summary = ", ".join(f"{size:,}: {rate:,.0f}" for size, rate in rates.items())
    bench.reporter.step(f"Quix Streams, events/s by commit_every: {summary}")
    report.notes.append(
        f"{NAME}: decoded by fastavro; events/s by commit_every: {summary}; "
        f"measured with {fastest:,}; no masks, no version check, offsets in Kafka; its rows "
        "differ, because a batch writes only the columns that are not NULL in its first row"
    )
    return lambda: run_pass(fastest)


def _start(
    bench: BenchStack, python: Path, recording: Recording, size: int
) -> AbstractContextManager[MeasuredProcess]:
    settings = bench.stack.settings
    env = {
        "QUIX_KAFKA": bench.env["SINK_KAFKA"],
        "QUIX_REGISTRY": bench.env["SINK_REGISTRY"],
        "QUIX_TOPIC": TOPIC,
        "QUIX_EVENTS": str(recording.events),
        "QUIX_COMMIT_EVERY": str(size),
        "QUIX_DATABASE": TARGET,
        "QUIX_PORT": str(settings.port("postgres")),
        # The sink always runs CREATE SCHEMA IF NOT EXISTS, which sink_writer may not.
        "QUIX_USER": "postgres",
        "QUIX_PASSWORD": settings.password("admin"),
    }
    argv = [str(python), str(HERE / "peers" / "quix_sink.py")]
    return start_process(argv, env=env, log=bench.stack.layout.log("bench-quix"))


def _install(bench: BenchStack) -> Path:
    """Return the environment's interpreter; create the environment in the cache if missing."""
    folder = bench.stack.layout.programs / f"quixstreams-{VERSION}"
    if not folder.exists():
        bench.reporter.step(f"installing Quix Streams {VERSION}")
        partial = folder.with_name(folder.name + ".part")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(partial)], check=True)
        pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--require-hashes", "-r", _REQUIREMENTS]
        subprocess.run(pip, check=True)
        partial.rename(folder)
    return folder / "bin" / "python"
