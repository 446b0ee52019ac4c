"""A runner as an operator starts it: a process of its own, told what to do by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sink_stack.stack import sink_runner

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds; what takes longer than this does not happen


class Runner:
    """One `sink-runner run`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """End it as an operator does; return its exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE), time.monotonic() - began

    def claimed(self) -> int:
        """How many mappings have taken their partitions."""
        return self.log.read_text().count("partitions_claimed")


def start(
    environ: Mapping[str, str],
    log: Path,
    *arguments: str,
    config: Path = ROOT / "sink-runner.toml",
) -> Runner:
    """Start a runner that knows the stack by `environ`."""
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
    return Runner(process, log)


@contextmanager
def running(
    environ: Mapping[str, str], log: Path, *arguments: str, mappings: int = 3, **options: Any
) -> Iterator[Runner]:
    """A runner that has its partitions; stopped in the end, come what may."""
    runner = start(environ, log, *arguments, **options)
    try:
        eventually(lambda: runner.claimed() >= mappings or runner.process.poll() is not None)
        assert runner.process.poll() is None, runner.log.read_text()
        yield runner
    finally:
        if runner.process.poll() is None:
            runner.stop()


def eventually(holds: Callable[[], Any], seconds: float = PATIENCE, *, pause: float = 0.05) -> Any:
    """Wait until something holds, and return it; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(pause)
    return found


def row(connection: psycopg.Connection[Any], query: str, *parameters: Any) -> Any:
    """The first row of a query, None if there is none."""
    return connection.execute(query.encode(), parameters).fetchone()
