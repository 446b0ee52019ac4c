"""Debezium's JDBC sink in Kafka Connect: swept, and measured with what did best.

It writes the topic's dates, timestamps and decimals as the strings that they are there, with
`stringtype=unspecified`, so PostgreSQL reads them just as it reads ours.  It masks nothing,
guards nothing and keeps its offsets in Kafka, after the fact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sink_stack.maven import Artifact

from .. import measured
from ..home import TARGET, Home
from ..measured import Pass
from ..recording import TOPIC, Recording
from ..report import Report
from .connect import Connect, worker

VERSION = "3.5.0.Final"
NAME = f"Debezium JDBC sink {VERSION}"
_PLUGIN = Artifact("io.debezium", "debezium-connector-jdbc", VERSION)
_DRIVER = Artifact("org.postgresql", "postgresql", "42.7.8")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the sweep varies."""

    batch: int
    reduce: bool = True
    """Write one row of several with the same key."""
    rewrite: bool = True
    """Let the driver make one INSERT of many; fails where a key occurs twice in it."""
    unnest: bool = False

    def __str__(self) -> str:
        names = [name for name in ("reduce", "rewrite", "unnest") if getattr(self, name)]
        return " ".join([str(self.batch), *names])


SWEPT = (
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
def ready(home: Home, recording: Recording, report: Report) -> Iterator[Callable[[], Pass]]:
    """Warm a JVM up, sweep, and give what makes a pass with the best setting."""
    with worker(home, _PLUGIN, _DRIVER) as connect:
        bench = _Bench(home, recording, connect)
        bench.run(SWEPT[1])
        home.reporter.step("JDBC sink: warmed up")
        best = _best(home, bench, report)
        yield lambda: bench.run(best)


class _Bench:
    """Passes of one warm JVM, each by a new connector with a group of its own."""

    def __init__(self, home: Home, recording: Recording, connect: Connect) -> None:
        self._home = home
        self._recording = recording
        self._connect = connect
        self._numbers = itertools.count()

    def run(self, setting: Setting) -> Pass:
        name = f"bench-{self._connect.watched.process.pid}-{next(self._numbers)}"
        connector = self._connect.connector(name, _config(self._home, setting))
        return measured.run(self._home, self._recording, connector)


def _best(home: Home, bench: _Bench, report: Report) -> Setting:
    """Try every setting once; what a setting cannot do is told and passed over."""
    rates: dict[Setting, float] = {}
    for setting in SWEPT:
        try:
            rates[setting] = bench.run(setting).rate
        except RuntimeError as fault:
            report.notes.append(f"JDBC sink, {setting}: {fault}")
            continue
        home.reporter.step(f"JDBC sink, {setting}: {rates[setting]:,.0f}/s")
    best = max(rates, key=lambda setting: rates[setting])
    told = ", ".join(f"{setting}: {rate:,.0f}" for setting, rate in rates.items())
    report.notes.append(
        f"{NAME}: JVM warm; swept by batch.size, events/s: {told}; measured with {best}; no masks, "
        "no guard, offsets in Kafka; dates and decimals written as strings, like ours"
    )
    return best


def _config(home: Home, setting: Setting) -> dict[str, str]:
    settings = home.stack.settings
    address = f"127.0.0.1:{settings.port('postgres')}/{TARGET}"
    options = f"reWriteBatchedInserts={str(setting.rewrite).lower()}&stringtype=unspecified"
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        # Debezium Server's headers; what the default makes of them has no schema, and fails.
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "topics": TOPIC,
        "connection.url": f"jdbc:postgresql://{address}?{options}",
        "connection.username": "sink_writer",
        "connection.password": settings.password("writer"),
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "schema.evolution": "none",
        "collection.name.format": "bench.account",
        "batch.size": str(setting.batch),
        "use.reduction.buffer": str(setting.reduce).lower(),
        "dialect.postgres.unnest.insert.enabled": str(setting.unnest).lower(),
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.max.poll.records": str(setting.batch),
        "consumer.override.fetch.min.bytes": "100000",
        "consumer.override.max.partition.fetch.bytes": "8388608",
    }
