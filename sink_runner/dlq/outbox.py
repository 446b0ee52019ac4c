"""Publish dead letters from the table to their Kafka topics.

Kafka cannot take part in the database's transaction, so a dead letter is sent after its commit and
marked when Kafka has confirmed it.  After a crash in between it is sent again (at least once);
`sink.dlq-id`, `sink.attempts` and `sink.status` identify duplicates.  Two runners never send the
same dead letter at the same time, and an outage of Kafka only delays it.  Deferred events are not
published.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import psycopg
import structlog
from prometheus_client import Gauge

from ..config import Config
from ..config.dsn import Dsn
from ..error_text import describe
from ..errors import AccessError, RetriableError
from ..kafka.connection import KafkaConnection
from ..loading import discovery
from ..model.status import Health
from ..postgres.session import Connection, connect
from .producer import Producer
from .record import Record, record_of
from .stored_dead_letters import SIZED, first_sized, read

_AT_ONCE = 100
_LONGEST = 30.0  # seconds between attempts while Kafka or the database does not answer
# The index dead_letter_unpublished has the same condition.
UNPUBLISHED = """error_class <> 'WaitingError'
AND (published_attempts IS NULL
OR (status IN ('OPEN', 'SUPERSEDED') AND published_attempts < attempts))"""
_SOURCES = f"""
SELECT split_part(topic, '.', 1), count(*) FROM sink.dead_letter
WHERE {UNPUBLISHED} AND topic IS NOT NULL GROUP BY 1 ORDER BY 1
"""
_TAKE = f"""
{SIZED} WHERE {UNPUBLISHED} AND split_part(topic, '.', 1) = %s
ORDER BY dlq_id LIMIT {_AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED
"""
_MARK = "UPDATE sink.dead_letter SET published_attempts = attempts WHERE dlq_id = ANY (%s)"


class RecordSender(Protocol):
    """Sends records to Kafka."""

    def send(self, records: Sequence[Record]) -> None:
        """Return when Kafka has confirmed all records; otherwise raise RetriableError."""

    def close(self) -> None: ...


class Outbox:
    """Publishes the dead letters of one target database.  One thread at a time uses it."""

    def __init__(self, database: str, dsn: Dsn, producer: RecordSender, waiting: Gauge) -> None:
        self._database = database
        self._dsn = dsn
        self._producer = producer
        self._waiting = waiting
        self._connection: Connection | None = None
        self._sources: set[str] = set()

    def publish(self) -> int:
        """Publish unpublished dead letters; return their number.

        A topic that refuses records does not delay the others; its error is raised at the end.
        """
        sent = 0
        fault: AccessError | RetriableError | None = None
        for source in self._pending_sources():
            try:
                while part := self._publish_portion(source):
                    sent += part
            except (AccessError, RetriableError) as refused:
                fault = refused
        if sent or fault:
            self._pending_sources()
        if fault is not None:
            raise fault
        return sent

    def close(self) -> None:
        self._producer.close()
        if self._connection is not None:
            self._connection.close()

    def _pending_sources(self) -> list[str]:
        """Return the source databases of unpublished dead letters, and set the gauge of each."""
        found = dict(self._session().execute(_SOURCES.encode()).fetchall())
        self._sources |= found.keys()
        for source in self._sources:
            self._waiting.labels(self._database, source).set(found.get(source, 0))
        return list(found)

    def _publish_portion(self, source: str) -> int:
        """Send some dead letters of one direction; mark them in the transaction that locks them."""
        connection = self._session()
        with connection.transaction():
            found = first_sized(connection, _TAKE, (source,))
            if found:
                dead_letters = read(connection, found)
                self._producer.send(
                    [record_of(dead_letter, self._database) for dead_letter in dead_letters]
                )
                connection.execute(_MARK, (found,))
        return len(found)

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, "sink-runner outbox")
        return self._connection


def unpublished_gauge(health: Health) -> Gauge:
    """Return the gauge of the dead letters that are not yet published."""
    return health.gauge(
        "sink_dead_letters_unpublished",
        "Dead letters that are not yet in their Kafka topic.",
        ("database", "source"),
    )


@contextmanager
def publishing(
    config: Config, plugins: Sequence[discovery.Plugin], health: Health
) -> Iterator[None]:
    """Publish dead letters while the block runs, by a thread for each target database."""
    seconds = config.dead_letters.publish_seconds
    mappings = [plugin.mapping for plugin in plugins if plugin.mapping is not None]
    targets = {mapping.target_table.database for mapping in mappings}
    gauge = unpublished_gauge(health)
    stop = threading.Event()
    threads = []
    for name in sorted(targets & config.databases.keys() if seconds else ()):
        producer = Producer(KafkaConnection.of(config.kafka))
        outbox = Outbox(name, config.databases[name].dsn, producer, gauge)
        threads.append(
            threading.Thread(
                target=_loop, args=(name, outbox, seconds, stop), name=f"outbox-{name}", daemon=True
            )
        )
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(2.0)


def _loop(name: str, outbox: Outbox, seconds: float, stop: threading.Event) -> None:
    """Publish until `stop` is set; log the first of consecutive failures, and retry."""
    log = structlog.get_logger().bind(database=name)
    pause, logged = seconds, False
    with closing(outbox):
        while not stop.wait(pause):
            fault = _fault_of(outbox.publish)
            if fault is None:
                pause, logged = seconds, False
                continue
            if isinstance(fault, psycopg.errors.UndefinedTable):
                continue  # no mapping has created the tables of this database yet
            if not logged:
                log.warning("dead_letters_not_published", reason=describe(fault))
            pause, logged = min(pause * 2, _LONGEST), True


def _fault_of(work: Callable[[], Any]) -> Exception | None:
    try:
        work()
    except Exception as fault:  # noqa: BLE001 - nothing else of the runner may end with it
        return fault
    return None
