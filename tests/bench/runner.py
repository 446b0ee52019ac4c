"""Run sink-runner as a separate process with the benchmark's plugin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from sink_stack.stack import sink_runner

from sink_runner.config import Batch

from .process import MeasuredProcess, start_process
from .stack import HERE, BenchStack

NAME = "sink-runner"
DEFAULT_ROWS = Batch().max_rows


def install_plugin(bench: BenchStack) -> None:
    """Install the plugin into a folder that only the benchmark's runner has on its path."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--upgrade"]
    command += ["--target", str(_plugin_folder(bench)), str(HERE / "plugin")]
    subprocess.run(command, check=True)


def available_clients() -> Mapping[str, str]:
    """Return the installed Kafka clients of the runner by their name in the report."""
    extra = {f"{NAME}, librdkafka": "librdkafka"} if find_spec("confluent_kafka") else {}
    return {NAME: "kafka-python", **extra}


def start_runner(
    bench: BenchStack, mapping: str, *, rows: int = DEFAULT_ROWS, client: str = "kafka-python"
) -> AbstractContextManager[MeasuredProcess]:
    """Run one mapping with at most `rows` rows per transaction."""
    config = str(HERE / "sink-runner.toml")
    argv = sink_runner("run", "--config", config, "--only", mapping)
    env = {
        **bench.env,
        "PYTHONPATH": str(_plugin_folder(bench)),
        "BENCH_BATCH_ROWS": str(rows),
        "SINK_KAFKA_CLIENT": client,
    }
    return start_process(argv, env=env, log=bench.stack.layout.log("bench-runner"))


def _plugin_folder(bench: BenchStack) -> Path:
    return bench.folder / "plugins"
