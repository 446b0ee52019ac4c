"""A process of the runner that tests stop by signals, and helpers that wait for its effects."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sink_stack.stack import sink_runner

from ..support.waits import eventually

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60.0


class RunnerProcess:
    """A process of `sink-runner run`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def kill(self) -> None:
        """Kill the process, as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """Stop the process by SIGTERM; return its exit code and the seconds until it ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=TIMEOUT_SECONDS), time.monotonic() - began

    def claimed_mappings(self) -> int:
        """Return the number of mappings that have claimed their partitions."""
        return self.log.read_text().count("partitions_claimed")


def start_runner(
    environ: Mapping[str, str],
    log: Path,
    *arguments: str,
    config: Path = ROOT / "sink-runner.toml",
) -> RunnerProcess:
    """Start a runner with the stack's environment variables."""
    command = sink_runner("run", "--config", str(config), *arguments)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return RunnerProcess(process, log)


@contextmanager
def run_runner(
    environ: Mapping[str, str], log: Path, *arguments: str, mappings: int = 3, **options: Any
) -> Iterator[RunnerProcess]:
    """Run a runner until the block is left; enter the block once its mappings have claimed."""
    runner = start_runner(environ, log, *arguments, **options)
    try:
        eventually(
            lambda: runner.claimed_mappings() >= mappings or runner.process.poll() is not None
        )
        assert runner.process.poll() is None, runner.log.read_text()
        yield runner
    finally:
        if runner.process.poll() is None:
            runner.stop()


def fetch_row(connection: psycopg.Connection[Any], query: str, *parameters: Any) -> Any:
    """Return the first row of a query, or None."""
    return connection.execute(query.encode(), parameters).fetchone()
