"""A broker of three is killed under load: nothing is lost, and the runners continue.

`make broker-loss` runs it: two more brokers and all copies take a minute, which is too long for the
tests of every change. The settings are those that docs/guide/scaling.md gives for three brokers.
"""

import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError
from sink_stack import envfile, layout, ports, topics
from sink_stack.programs import Installer
from sink_stack.progress import Reporter

from . import demo_deployment, load
from .deployment import TOPICS, describe_differences, wait_until

pytestmark = pytest.mark.stack

NODES = (2, 3)
KILLED = 2
FAMILIES = 20
RATE = 20.0
MORE_EVENTS = 100  # applied with two brokers
SECONDS = 120
_GROUPS = "__consumer_offsets"


class Brokers:
    """Two brokers beside that of the stack, whose controller they use."""

    def __init__(self, stack, folder: Path) -> None:
        found = layout.find(os.environ)
        versions = envfile.load(found.root / "compose" / "versions.env")
        self._programs = Installer(found, versions, os.environ).install(Reporter())
        self._home = stack.stack.layout
        self._first = stack.kafka
        self._folder = folder
        self._addresses: dict[int, str] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def bootstrap(self) -> str:
        return ",".join([self._first, *self._addresses.values()])

    def start(self, node: int) -> None:
        port = ports.any_free(frozenset())
        self._addresses[node] = f"127.0.0.1:{port}"
        folder = self._folder / str(node)
        folder.mkdir()
        server = folder / "server.properties"
        changed = {
            "process.roles": "broker",
            "node.id": str(node),
            "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": str(folder / "data"),
        }
        server.write_text(self._first_properties(changed))
        java = [str(self._programs.java), "-Xmx256m", "-XX:+UseSerialGC"]
        java += ["-XX:TieredStopAtLevel=1", "-cp", f"{self._programs.kafka}/*"]
        java.insert(1, f"-Dlog4j2.configurationFile={self._home.conf / 'kafka-log4j2.properties'}")
        storage = [*java, "kafka.tools.StorageTool", "format", "-t", self._cluster(), "-c"]
        subprocess.run([*storage, str(server)], check=True, capture_output=True)
        with (folder / "log").open("wb") as log:
            self.processes[node] = subprocess.Popen(
                [*java, "kafka.Kafka", str(server)], stdout=log, stderr=subprocess.STDOUT
            )

    def _first_properties(self, changed) -> str:
        lines = (self._home.conf / "kafka.properties").read_text().splitlines()
        names = [line.partition("=")[0] for line in lines]
        kept = [line for name, line in zip(names, lines, strict=True) if name not in changed]
        return "\n".join([*kept, *(f"{name}={value}" for name, value in changed.items())])

    def _cluster(self) -> str:
        lines = (self._home.home / "kafka" / "meta.properties").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)["cluster.id"]


@contextmanager
def three_brokers(stack, folder):
    """Copy every topic to three brokers; broker 2 leads each partition and coordinates groups."""
    brokers = Brokers(stack, folder)
    try:
        for node in NODES:
            brokers.start(node)
        with topics.admin(stack.kafka) as admin:
            assert wait_until(lambda: len(admin.describe_cluster()["brokers"]) == 3, SECONDS)
        # An older client does not know all brokers, any of which it may use as the controller.
        with topics.admin(brokers.bootstrap) as admin:
            names = [*TOPICS, _GROUPS]
            everywhere = {
                TopicPartition(one["name"], part["partition_index"]): [KILLED, 3, 1]
                for one in admin.describe_topics(names)
                for part in one["partitions"]
            }
            admin.alter_partition_reassignments(everywhere)
            assert wait_until(lambda: in_sync(admin, names) == {3}, SECONDS)
            admin.alter_configs(
                [
                    ConfigResource(
                        ConfigResourceType.TOPIC, name, configs={"min.insync.replicas": "2"}
                    )
                    for name in names
                ],
                incremental=True,
            )
            admin.elect_leaders(0, raise_errors=False)
            assert wait_until(lambda: leaders(admin, names) == {KILLED}, SECONDS)
        yield brokers
    finally:
        for process in brokers.processes.values():
            process.kill()
            process.wait()


def in_sync(admin, names):
    """Return how many copies in sync the partitions have."""
    return {
        len(part["isr_nodes"]) for one in admin.describe_topics(names) for part in one["partitions"]
    }


def leaders(admin, names):
    return {part["leader_id"] for one in admin.describe_topics(names) for part in one["partitions"]}


def count_records(deployment) -> int:
    """Return the records in Kafka; 0 while its metadata still names the killed broker."""
    try:
        return sum(deployment.log_ends().values())
    except KafkaError:
        return 0


def test_loss_of_one_broker_loses_no_event(stack, tmp_path):
    with ExitStack() as used:
        deployment = used.enter_context(demo_deployment.deploy(stack, tmp_path / "log", FAMILIES))
        with deployment.runner():  # makes Kafka create the topic of the groups
            deployment.apply_all(SECONDS)
        brokers = used.enter_context(three_brokers(stack, tmp_path))
        clustered = replace(
            deployment,
            environment={**deployment.environment, "SINK_KAFKA": brokers.bootstrap},
        )
        runners = [used.enter_context(clustered.ready_runner()) for _ in range(2)]
        with load.run_in_background(*deployment.dsns, seed=5, rate=RATE) as running_load:
            before = deployment.progress()
            assert wait_until(lambda: deployment.progress() > before, SECONDS)
            brokers.processes[KILLED].kill()
            began, applied = time.monotonic(), deployment.progress()
            assert wait_until(lambda: count_records(deployment) > 0, SECONDS)
            written = count_records(deployment)
            assert wait_until(lambda: count_records(deployment) > written, SECONDS)
            print(f"capture writes again after {time.monotonic() - began:.1f} s")
            assert wait_until(lambda: deployment.progress() > max(applied, written), SECONDS)
            print(f"the runners apply new events after {time.monotonic() - began:.1f} s")
            reached = deployment.progress()
            assert wait_until(lambda: deployment.progress() > reached + MORE_EVENTS, SECONDS)
        print(f"load: {sum(running_load.done.values())} changes")
        differences = deployment.settle(SECONDS)
        assert not differences, describe_differences(differences)
        assert all(runner.running for runner in runners)
        assert deployment.repeated_batches() == []
        assert deployment.count_dead_letters() == 0
