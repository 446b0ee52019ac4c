"""The sink runner as it is delivered: a process of its own, with the benchmark's plugin."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from sink_runner.config import Batch

from .home import HERE, Home
from .process import Watched, running

DEFAULT_ROWS = Batch().max_rows


def install(home: Home) -> None:
    """Put the plugin where only the benchmark's runner finds it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--upgrade", "--target", str(_plugins(home)), str(HERE / "plugin")]
    subprocess.run(command, check=True)


def started(
    home: Home, mapping: str, *, rows: int = DEFAULT_ROWS
) -> AbstractContextManager[Watched]:
    """Run one mapping and nothing else; `rows` is the most that go into one transaction."""
    program = str(Path(sys.executable).with_name("sink-runner"))
    argv = [program, "run", "--config", str(HERE / "sink-runner.toml"), "--only", mapping]
    env = {**home.env, "PYTHONPATH": str(_plugins(home)), "BENCH_BATCH_ROWS": str(rows)}
    return running(argv, env=env, log=home.stack.layout.log("bench-runner"))


def _plugins(home: Home) -> Path:
    return home.folder / "plugins"
