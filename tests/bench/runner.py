"""The sink runner as it is delivered: a process of its own, with the benchmark's plugin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from sink_stack.stack import sink_runner

from sink_runner.config import Batch

from .home import HERE, Home
from .process import Watched, running

NAME = "sink-runner"
DEFAULT_ROWS = Batch().max_rows


def install(home: Home) -> None:
    """Put the plugin where only the benchmark's runner finds it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--upgrade"]
    command += ["--target", str(_plugins(home)), str(HERE / "plugin")]
    subprocess.run(command, check=True)


def clients() -> Mapping[str, str]:
    """What the runner can read Kafka with here, by the name that a pass has in the report."""
    extra = {f"{NAME}, librdkafka": "librdkafka"} if find_spec("confluent_kafka") else {}
    return {NAME: "kafka-python", **extra}


def started(
    home: Home, mapping: str, *, rows: int = DEFAULT_ROWS, client: str = "kafka-python"
) -> AbstractContextManager[Watched]:
    """Run one mapping and nothing else; `rows` is the most that go into one transaction."""
    config = str(HERE / "sink-runner.toml")
    argv = sink_runner("run", "--config", config, "--only", mapping)
    env = {
        **home.env,
        "PYTHONPATH": str(_plugins(home)),
        "BENCH_BATCH_ROWS": str(rows),
        "SINK_KAFKA_CLIENT": client,
    }
    return running(argv, env=env, log=home.stack.layout.log("bench-runner"))


def _plugins(home: Home) -> Path:
    return home.folder / "plugins"
