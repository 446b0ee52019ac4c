"""Quix Streams' PostgreSQL sink, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from .. import measured
from ..home import HERE, TARGET, Home
from ..measured import Pass
from ..process import Watched, running
from ..recording import TOPIC, Recording
from ..report import Report

VERSION = "3.28.1"
NAME = f"Quix Streams {VERSION}"
SWEPT = (2_000, 10_000)
_REQUIRED = str(HERE / "peers" / "quix.txt")


def ready(home: Home, recording: Recording, report: Report) -> Callable[[], Pass]:
    """Sweep how many events one commit takes, and give what makes a pass with the best."""
    python = _installed(home)

    def once(size: int) -> Pass:
        return measured.run(home, recording, _started(home, python, recording, size))

    rates = {size: once(size).rate for size in SWEPT}
    best = max(rates, key=lambda size: rates[size])
    told = ", ".join(f"{size:,}: {rate:,.0f}" for size, rate in rates.items())
    home.reporter.step(f"Quix Streams, by commit_every, events/s: {told}")
    report.notes.append(
        f"{NAME}: decoded by fastavro; swept by commit_every, events/s: {told}; "
        f"measured with {best:,}; no masks, no guard, offsets in Kafka; its rows differ, because a "
        "batch writes only the columns that are not NULL in its first row"
    )
    return lambda: once(best)


def _started(
    home: Home, python: Path, recording: Recording, size: int
) -> AbstractContextManager[Watched]:
    settings = home.stack.settings
    env = {
        "QUIX_KAFKA": home.env["SINK_KAFKA"],
        "QUIX_REGISTRY": home.env["SINK_REGISTRY"],
        "QUIX_TOPIC": TOPIC,
        "QUIX_EVENTS": str(recording.events),
        "QUIX_COMMIT_EVERY": str(size),
        "QUIX_DATABASE": TARGET,
        "QUIX_PORT": str(settings.port("postgres")),
        # As the administrator: it insists on CREATE SCHEMA, though the schema is there.
        "QUIX_USER": "postgres",
        "QUIX_PASSWORD": settings.password("admin"),
    }
    argv = [str(python), str(HERE / "peers" / "quix_sink.py")]
    return running(argv, env=env, log=home.stack.layout.log("bench-quix"))


def _installed(home: Home) -> Path:
    """The interpreter of an environment in the cache that all stacks share."""
    folder = home.stack.layout.programs / f"quixstreams-{VERSION}"
    if not folder.exists():
        home.reporter.step(f"installing Quix Streams {VERSION}")
        fresh = folder.with_name(folder.name + ".part")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(fresh)], check=True)
        pip = [str(fresh / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--require-hashes", "-r", _REQUIRED]
        subprocess.run(pip, check=True)
        fresh.rename(folder)
    return folder / "bin" / "python"
