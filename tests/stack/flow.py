"""Both ends of the flows, and how far the runner is between them."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from kafka import KafkaConsumer, TopicPartition
from sink_stack.stack import sink_runner

from .running import ROOT, eventually, row

Connection = psycopg.Connection[Any]


class Flow:
    """What one side is told, and what the other, the `target`, comes to hold."""

    def __init__(
        self,
        warehouse: Connection,
        portal: Connection,
        consumer: KafkaConsumer,
        environ: Mapping[str, str],
        *,
        target: str = "portal",
    ) -> None:
        self.warehouse = warehouse
        self.portal = portal
        self._target = warehouse if target == "warehouse" else portal
        self._consumer = consumer
        self._environ = {**os.environ, **environ}

    def batch(self, name: str, *arguments: str) -> None:
        """Run the batch form of one mapping, and of no other."""
        command = sink_runner("batch", name, *arguments)
        environ = {**self._environ, "SINK_PLUGINS": name}
        ran = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr

    def arrives(self, table: str, key: tuple[str, Any], **columns: Any) -> None:
        """The target's row comes to hold these values."""
        eventually(lambda: self.holds(table, key, *columns) == tuple(columns.values()))

    def leaves(self, table: str, key: tuple[str, Any]) -> None:
        eventually(lambda: self.holds(table, key, "1") is None)

    def holds(self, table: str, key: tuple[str, Any], *columns: str) -> Any:
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {key[0]} = %s"
        return row(self._target, query, key[1])

    @contextmanager
    def applied(self, topic: str) -> Iterator[None]:
        """When the block is left, the change that was made in it has had its effect."""
        before = sum(self._ends(topic).values())
        yield
        eventually(lambda: sum(self._ends(topic).values()) > before)
        eventually(lambda: self._applied(topic) == sum(self._ends(topic).values()))

    def _ends(self, topic: str) -> dict[TopicPartition, int]:
        partitions = self._consumer.partitions_for_topic(topic)
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(
            [TopicPartition(topic, partition) for partition in partitions]
        )
        return ends

    def _applied(self, topic: str) -> int:
        query = "SELECT sum(coalesce(next_offset, 0)) FROM sink.partition_offset WHERE topic = %s"
        return int(row(self._target, query, topic)[0] or 0)
