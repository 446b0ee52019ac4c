"""Debezium's JDBC sink in Kafka Connect: swept, and measured with what did best.

It writes the topic's dates, timestamps and decimals as the strings that they are there, with
`stringtype=unspecified`, so PostgreSQL reads them just as it reads ours.  It masks nothing,
guards nothing and keeps its offsets in Kafka, after the fact.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from sink_stack.maven import Artifact

from .. import measured
from ..home import TARGET, Home
from ..measured import Pass
from ..recording import TOPIC, Recording
from ..report import Report
from .connect import Connect, worker

VERSION = "3.5.0.Final"
_PLUGIN = Artifact("io.debezium", "debezium-connector-jdbc", VERSION)
_DRIVER = Artifact("org.postgresql", "postgresql", "42.7.8")
_UNNEST = "dialect.postgres.unnest.insert.enabled"

SWEPT: Mapping[str, Mapping[str, str]] = {
    "1000": {"batch.size": "1000"},
    "5000": {"batch.size": "5000"},
    "1000, reduction buffer": {"batch.size": "1000", "use.reduction.buffer": "true"},
    "5000, reduction buffer": {"batch.size": "5000", "use.reduction.buffer": "true"},
    "5000, reduction buffer, unnest": {
        "batch.size": "5000",
        "use.reduction.buffer": "true",
        _UNNEST: "true",
    },
}
"""What is tried, by batch.size; the JVM is warm by then."""


def measure(home: Home, recording: Recording, passes: int, report: Report) -> None:
    with worker(home, _PLUGIN, _DRIVER) as connect:
        bench = _Bench(home, recording, connect)
        bench.run(SWEPT["5000, reduction buffer"])
        home.reporter.step("JDBC sink: warmed up")
        best = _best(home, bench, report)
        name = f"Debezium JDBC sink {VERSION}"
        for _ in range(passes):
            report.add(name, bench.run(SWEPT[best]))
            home.reporter.step(f"JDBC sink, {best}: {report.passes[name][-1].rate:,.0f}/s")


class _Bench:
    """Passes of one warm JVM, each by a new connector with a group of its own."""

    def __init__(self, home: Home, recording: Recording, connect: Connect) -> None:
        self._home = home
        self._recording = recording
        self._connect = connect
        self._names: Iterator[str] = (
            f"{connect.watched.process.pid}-{number}" for number in itertools.count()
        )

    def run(self, settings: Mapping[str, str]) -> Pass:
        name = f"bench-{next(self._names)}"
        config = {**_config(self._home, name), **settings}
        config["consumer.override.max.poll.records"] = settings["batch.size"]
        return measured.run(self._home, self._recording, self._connect.connector(name, config))


def _best(home: Home, bench: _Bench, report: Report) -> str:
    """Try every setting once; what a setting cannot do is told and passed over."""
    rates: dict[str, float] = {}
    for name, settings in SWEPT.items():
        try:
            rates[name] = bench.run(settings).rate
        except RuntimeError as fault:
            report.notes.append(f"JDBC sink, batch.size {name}: {fault}")
            continue
        home.reporter.step(f"JDBC sink, {name}: {rates[name]:,.0f}/s")
    told = ", ".join(f"{name}: {rate:,.0f}" for name, rate in rates.items())
    best = max(rates, key=lambda name: rates[name])
    report.notes.append(
        f"JDBC sink {VERSION}: JVM warm; swept batch.size, events/s: {told}; measured with {best}; "
        "no masks, no guard, offsets in Kafka; dates and decimals as strings, like ours"
    )
    return best


def _config(home: Home, name: str) -> dict[str, str]:
    settings = home.stack.settings
    address = f"127.0.0.1:{settings.port('postgres')}/{TARGET}"
    return {
        "name": name,
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        # Debezium Server's headers; what the default makes of them has no schema, and fails.
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "topics": TOPIC,
        "connection.url": (
            f"jdbc:postgresql://{address}?reWriteBatchedInserts=true&stringtype=unspecified"
        ),
        "connection.username": "sink_writer",
        "connection.password": settings.password("writer"),
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "schema.evolution": "none",
        "collection.name.format": "bench.account",
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.fetch.min.bytes": "100000",
        "consumer.override.max.partition.fetch.bytes": "8388608",
    }
