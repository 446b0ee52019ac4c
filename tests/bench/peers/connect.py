"""Run a standalone Kafka Connect worker and start its connectors over REST."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from sink_stack import ports
from sink_stack.maven import Artifact, Maven
from sink_stack.programs import Installer

from ..process import MeasuredProcess, start_process
from ..stack import BenchStack

CONVERTER = "2.6.13.Final"  # the last Apicurio converter for version 2 of the registry's API
_START_TIMEOUT_SECONDS = 120
_MAX_CAUSE_CHARACTERS = 160
# The settings of earlier measurements: twice the memory of the whole stack, and the G1 collector.
_JVM = ("-Xms1g", "-Xmx2g", "-XX:+UseG1GC")
# The worker provides these; classes loaded from a second copy in a plugin are not compatible.
_PROVIDED = (
    *("*/connect-*.jar", "*/kafka-clients-*.jar", "*/slf4j-api-*.jar"),
    *(f"debezium-*/jackson-{part}-*.jar" for part in ("annotations", "core", "databind")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectWorker:
    connectors_url: str
    jvm: MeasuredProcess

    @contextmanager
    def run_connector(self, name: str, config: Mapping[str, str]) -> Iterator[MeasuredProcess]:
        """Run a connector during the block; the worker's JVM stays warm for the next one."""
        response = urllib3.request(
            "POST", self.connectors_url, json={"name": name, "config": dict(config)}
        )
        if response.status >= 400:
            raise RuntimeError(f"Kafka Connect refused connector {name}: {response.data.decode()}")
        self.jvm.check_health = lambda: self._check_tasks(name)
        try:
            yield self.jvm
        finally:
            self.jvm.check_health = None
            urllib3.request("DELETE", f"{self.connectors_url}/{name}")

    def _check_tasks(self, name: str) -> None:
        status = self._fetch_status(name)
        for task in status.get("tasks", ()):
            if task["state"] == "FAILED":
                raise RuntimeError(f"connector {name} failed: {_innermost_cause(task['trace'])}")

    def _fetch_status(self, name: str) -> dict[str, Any]:
        response = urllib3.request("GET", f"{self.connectors_url}/{name}/status")
        status: dict[str, Any] = json.loads(response.data)
        return status


@contextmanager
def start_worker(bench: BenchStack, plugin: Artifact, driver: Artifact) -> Iterator[ConnectWorker]:
    """Start a worker with one connector plugin, its driver and the Avro converter."""
    plugins = _install(bench, plugin, driver)
    folder = bench.folder / "connect"
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{ports.any_free(frozenset())}"
    settings = folder / "worker.properties"
    settings.write_text(_make_properties(bench, folder, plugins, url), encoding="utf-8")
    programs = Installer(bench.stack.layout, bench.stack.versions, {}).programs()
    argv = [str(programs.java), *_JVM, f"-Dlog4j2.configurationFile={_log_config(bench)}"]
    argv += ["-cp", f"{programs.kafka}/*", "org.apache.kafka.connect.cli.ConnectStandalone"]
    argv.append(str(settings))
    with start_process(argv, env={}, log=bench.stack.layout.log("bench-connect")) as process:
        _wait_until_up(url, process)
        yield ConnectWorker(connectors_url=f"{url}/connectors", jvm=process)


def _install(bench: BenchStack, plugin: Artifact, driver: Artifact) -> Path:
    """Return the plugin folder; download it into the cache of all stacks if it is missing."""
    layout, versions = bench.stack.layout, bench.stack.versions
    target = layout.programs / f"connect-{plugin.name}-{plugin.version}"
    if not target.exists():
        maven = Maven(
            repository=layout.cache / "m2",
            plugin_version=versions["MAVEN_DEPENDENCY_PLUGIN_VERSION"],
            checksums=layout.checksums,
            log=layout.log("install"),
        )
        converter = "apicurio-registry-utils-converter"
        partial = target.with_name(target.name + ".part")
        with bench.reporter.downloading(f"fetching {plugin.name}", maven.repository):
            maven.copy_with_dependencies([plugin, driver], partial / plugin.name)
            maven.copy_with_dependencies(
                [Artifact("io.apicurio", converter, CONVERTER)], partial / converter
            )
        for pattern in _PROVIDED:
            for jar in partial.glob(pattern):
                jar.unlink()
        partial.rename(target)
    return target


def _make_properties(bench: BenchStack, folder: Path, plugins: Path, url: str) -> str:
    lines = {
        "bootstrap.servers": bench.env["SINK_KAFKA"],
        "listeners": url,
        "plugin.path": str(plugins),
        "plugin.discovery": "hybrid_warn",  # The converter has no service manifest.
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "10000",
        "connector.client.config.override.policy": "All",
    }
    registry = f"{bench.stack.settings.registry}/apis/registry/v2"
    for part in ("key", "value"):
        prefix = f"{part}.converter"
        lines |= {
            prefix: "io.apicurio.registry.utils.converter.AvroConverter",
            f"{prefix}.apicurio.registry.url": registry,
            f"{prefix}.apicurio.registry.as-confluent": "true",
            f"{prefix}.apicurio.registry.use-id": "contentId",
        }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _log_config(bench: BenchStack) -> Path:
    return bench.stack.layout.conf / "kafka-log4j2.properties"


def _wait_until_up(url: str, process: MeasuredProcess) -> None:
    bound = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        process.check()
        try:
            urllib3.request("GET", url, retries=False)
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > bound:
                raise
            time.sleep(0.5)
        else:
            return


def _innermost_cause(trace: str) -> str:
    """Return the innermost cause of a Java stack trace.

    It may quote values of a row, which are generated ones here.
    """
    lines = [line for line in trace.splitlines() if not line.startswith("\t")]
    return lines[-1][:_MAX_CAUSE_CHARACTERS]
