"""Measure Debezium's JDBC sink in Kafka Connect with the fastest of several settings.

With `stringtype=unspecified` the sink passes the topic's dates, timestamps and decimals to
PostgreSQL as strings, as the runner does. It masks no values, does not compare versions, and
commits its offsets to Kafka after it has written the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sink_stack.maven import Artifact

from .. import passes
from ..passes import PassResult
from ..recording import TOPIC, Recording
from ..report import Report
from ..stack import TARGET, BenchStack
from .connect import ConnectWorker, start_worker

VERSION = "3.5.0.Final"
NAME = f"Debezium JDBC sink {VERSION}"
_PLUGIN = Artifact("io.debezium", "debezium-connector-jdbc", VERSION)
_DRIVER = Artifact("org.postgresql", "postgresql", "42.7.8")


@dataclass(frozen=True, slots=True)
class Setting:
    """The options that the sweep varies."""

    batch_size: int
    reduce: bool = True
    """Write only the last of several rows with the same key."""
    rewrite: bool = True
    """Let the driver combine INSERTs into one, which fails if a key occurs twice in it."""
    unnest: bool = False

    def __str__(self) -> str:
        names = [name for name in ("reduce", "rewrite", "unnest") if getattr(self, name)]
        return " ".join([str(self.batch_size), *names])


SWEEP = (
    Setting(500),
    Setting(1000),
    Setting(2000),
    Setting(5000),
    Setting(10_000),
    Setting(20_000),
    Setting(2000, reduce=False, rewrite=False),
    Setting(2000, unnest=True),
)


@contextmanager
def prepare(
    bench: BenchStack, recording: Recording, report: Report
) -> Iterator[Callable[[], PassResult]]:
    """Warm up a JVM and find the fastest setting; yield a function that runs a pass with it."""
    with start_worker(bench, _PLUGIN, _DRIVER) as worker:
        sink = _JdbcSink(bench, recording, worker)
        sink.run_pass(SWEEP[1])
        bench.reporter.step("JDBC sink: warmed up")
        fastest = _find_fastest(bench, sink, report)
        yield lambda: sink.run_pass(fastest)


class _JdbcSink:
    """Runs passes in one warm JVM, each with a new connector and so a new consumer group."""

    def __init__(self, bench: BenchStack, recording: Recording, worker: ConnectWorker) -> None:
        self._bench = bench
        self._recording = recording
        self._worker = worker
        self._numbers = itertools.count()

    def run_pass(self, setting: Setting) -> PassResult:
        name = f"bench-{self._worker.jvm.process.pid}-{next(self._numbers)}"
        connector = self._worker.run_connector(name, _make_config(self._bench, setting))
        return passes.run_pass(self._bench, self._recording, connector)


def _find_fastest(bench: BenchStack, sink: _JdbcSink, report: Report) -> Setting:
    """Run a pass with each setting; note the error of a setting that fails and skip it."""
    rates: dict[Setting, float] = {}
    for setting in SWEEP:
        try:
            rates[setting] = sink.run_pass(setting).rate
        except RuntimeError as error:
            report.notes.append(f"JDBC sink, {setting}: {error}")
            continue
        bench.reporter.step(f"JDBC sink, {setting}: {rates[setting]:,.0f}/s")
    fastest = max(rates, key=lambda setting: rates[setting])
    summary = ", ".join(f"{setting}: {rate:,.0f}" for setting, rate in rates.items())
    report.notes.append(
        f"{NAME}: warm JVM; events/s by batch.size: {summary}; measured with {fastest}; no masks, "
        "no version check, offsets in Kafka; writes dates and decimals as strings, as the runner"
    )
    return fastest


def _make_config(bench: BenchStack, setting: Setting) -> dict[str, str]:
    settings = bench.stack.settings
    address = f"127.0.0.1:{settings.port('postgres')}/{TARGET}"
    options = f"reWriteBatchedInserts={str(setting.rewrite).lower()}&stringtype=unspecified"
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        # The default converter gives Debezium Server's headers no schema, and the sink then fails.
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "topics": TOPIC,
        "connection.url": f"jdbc:postgresql://{address}?{options}",
        "connection.username": "sink_writer",
        "connection.password": settings.password("writer"),
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "schema.evolution": "none",
        "collection.name.format": "bench.account",
        "batch.size": str(setting.batch_size),
        "use.reduction.buffer": str(setting.reduce).lower(),
        "dialect.postgres.unnest.insert.enabled": str(setting.unnest).lower(),
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.max.poll.records": str(setting.batch_size),
        "consumer.override.fetch.min.bytes": "100000",
        "consumer.override.max.partition.fetch.bytes": "8388608",
    }
