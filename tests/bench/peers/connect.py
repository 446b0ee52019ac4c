"""Kafka Connect as one standalone worker, told by REST what to run."""

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

from ..home import Home
from ..process import Watched, running

CONVERTER = "2.6.13.Final"  # of Apicurio, which still speaks the registry's second API
_START_SECONDS = 120
_CAUSE_LENGTH = 160
# As the prior measurements: twice the memory of all our parts, and the collector for throughput.
_JVM = ("-Xms1g", "-Xmx2g", "-XX:+UseG1GC")
# The worker has these itself; a second copy inside a plugin would not be the same classes.
_PROVIDED = (
    *("*/connect-*.jar", "*/kafka-clients-*.jar", "*/slf4j-api-*.jar"),
    *(f"debezium-*/jackson-{part}-*.jar" for part in ("annotations", "core", "databind")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """A running worker."""

    url: str
    watched: Watched

    @contextmanager
    def connector(self, name: str, config: Mapping[str, str]) -> Iterator[Watched]:
        """Run a connector during the block, in the JVM that stays."""
        answer = urllib3.request("POST", self.url, json={"name": name, "config": dict(config)})
        if answer.status >= 400:
            raise RuntimeError(f"Connect refused {name}: {answer.data.decode()}")
        self.watched.health = lambda: self._check(name)
        try:
            yield self.watched
        finally:
            self.watched.health = None
            urllib3.request("DELETE", f"{self.url}/{name}")

    def _check(self, name: str) -> None:
        status = self._status(name)
        for task in status.get("tasks", ()):
            if task["state"] == "FAILED":
                raise RuntimeError(f"connector {name} failed: {_cause(task['trace'])}")

    def _status(self, name: str) -> dict[str, Any]:
        answer = urllib3.request("GET", f"{self.url}/{name}/status")
        status: dict[str, Any] = json.loads(answer.data)
        return status


@contextmanager
def worker(home: Home, plugin: Artifact, driver: Artifact) -> Iterator[Connect]:
    """Start a worker that has one connector plugin, its driver and the Avro converter."""
    plugins = _installed(home, plugin, driver)
    folder = home.folder / "connect"
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{ports.any_free(frozenset())}"
    settings = folder / "worker.properties"
    settings.write_text(_properties(home, folder, plugins, url), encoding="utf-8")
    programs = Installer(home.stack.layout, home.stack.versions, {}).programs()
    argv = [str(programs.java), *_JVM, f"-Dlog4j2.configurationFile={_logging(home)}"]
    argv += ["-cp", f"{programs.kafka}/*", "org.apache.kafka.connect.cli.ConnectStandalone"]
    argv.append(str(settings))
    with running(argv, env={}, log=home.stack.layout.log("bench-connect")) as watched:
        _await(url, watched)
        yield Connect(url=f"{url}/connectors", watched=watched)


def _installed(home: Home, plugin: Artifact, driver: Artifact) -> Path:
    """The plugin folder, fetched once into the cache that all stacks share."""
    layout, versions = home.stack.layout, home.stack.versions
    target = layout.programs / f"connect-{plugin.name}-{plugin.version}"
    if not target.exists():
        maven = Maven(
            repository=layout.cache / "m2",
            plugin_version=versions["MAVEN_DEPENDENCY_PLUGIN_VERSION"],
            checksums=layout.checksums,
            log=layout.log("install"),
        )
        converter = "apicurio-registry-utils-converter"
        fresh = target.with_name(target.name + ".part")
        with home.reporter.downloading(f"fetching {plugin.name}", maven.repository):
            maven.copy_with_dependencies([plugin, driver], fresh / plugin.name)
            maven.copy_with_dependencies(
                [Artifact("io.apicurio", converter, CONVERTER)], fresh / converter
            )
        for pattern in _PROVIDED:
            for jar in fresh.glob(pattern):
                jar.unlink()
        fresh.rename(target)
    return target


def _properties(home: Home, folder: Path, plugins: Path, url: str) -> str:
    lines = {
        "bootstrap.servers": home.env["SINK_KAFKA"],
        "listeners": url,
        "plugin.path": str(plugins),
        "plugin.discovery": "hybrid_warn",  # the converter has no manifest
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "10000",
        "connector.client.config.override.policy": "All",
    }
    registry = f"{home.stack.settings.registry}/apis/registry/v2"
    for part in ("key", "value"):
        prefix = f"{part}.converter"
        lines |= {
            prefix: "io.apicurio.registry.utils.converter.AvroConverter",
            f"{prefix}.apicurio.registry.url": registry,
            f"{prefix}.apicurio.registry.as-confluent": "true",
            f"{prefix}.apicurio.registry.use-id": "contentId",
        }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _logging(home: Home) -> Path:
    return home.stack.layout.conf / "kafka-log4j2.properties"


def _await(url: str, watched: Watched) -> None:
    bound = time.monotonic() + _START_SECONDS
    while True:
        watched.check()
        try:
            urllib3.request("GET", url, retries=False)
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > bound:
                raise
            time.sleep(0.5)
        else:
            return


def _cause(trace: str) -> str:
    """The innermost reason of a Java stack trace; what it quotes of a row is the benchmark's."""
    lines = [line for line in trace.splitlines() if not line.startswith("\t")]
    return lines[-1][:_CAUSE_LENGTH]
