"""Write records to Kafka and report which of them every replica has confirmed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError

from ..error_text import text_of
from ..errors import SinkError
from ..kafka.broker_check import client_error, is_reachable
from ..kafka.connection import KafkaConnection, open_client

_CONNECT_SECONDS = 2.0
_RECONNECT_SECONDS = 1.0
"""Time between attempts to connect; requests fail at once until then, to keep threads free."""

Headers: TypeAlias = Sequence[tuple[str, bytes]]


class RecordMetadata(NamedTuple):
    """Partition and offset of a record."""

    partition: int
    offset: int


class Publisher:
    """One producer for all threads, created at first use and again after a failure."""

    def __init__(
        self, connection: KafkaConnection, *, delivery_seconds: float, max_record_bytes: int
    ) -> None:
        self._connection = connection
        self._seconds = delivery_seconds
        self._max_request = 2 * max_record_bytes  # records are checked before; this leaves room
        self._producer: Any = None
        self._retry_at = 0.0
        self._reason = ""
        self._lock = threading.Lock()

    def publish(
        self, topic: str, records: Sequence[tuple[bytes, bytes]], headers: Headers = ()
    ) -> list[RecordMetadata | None]:
        """Write (key, value) records in order; return None for each that was not confirmed.

        All records get the same headers.

        An unconfirmed record may still be in Kafka, so sending it again must do no harm.
        """
        deadline = time.monotonic() + self._seconds
        try:
            producer = self._connect()
        except (KafkaError, SinkError):
            return [None] * len(records)
        futures: list[Any] = []
        for record in records:
            # A send() that fails has waited for its whole timeout, and the next would do so again.
            is_stuck = bool(futures) and futures[-1] is None
            futures.append(None if is_stuck else _send(producer, topic, *record, headers))
        metadata = [_wait_for(future, deadline) for future in futures]
        if None in metadata:
            self._discard(producer)
        return metadata

    def answers(self) -> bool:
        """Return whether a broker answers now; the producer itself detects only a failed send."""
        return is_reachable(self._connection, _CONNECT_SECONDS)

    def close(self) -> None:
        """Wait for records in flight, then close the producer."""
        with self._lock:
            if self._producer is not None:
                _close(self._producer, self._seconds)
                self._producer = None

    def _connect(self) -> Any:
        with self._lock:
            if time.monotonic() < self._retry_at:
                raise KafkaConnectionError
            if self._producer is None:
                try:
                    # A producer that cannot connect leaves open sockets: check the broker first.
                    if not self.answers():
                        raise KafkaConnectionError
                    self._producer = self._create_producer()
                except (KafkaError, SinkError) as fault:
                    self._retry_at = time.monotonic() + _RECONNECT_SECONDS
                    self._log_failure(fault)
                    raise
                self._reason = ""
            return self._producer

    def _log_failure(self, fault: KafkaError | SinkError) -> None:
        """Log each new reason once: callers only get a 503."""
        found = client_error(self._connection, fault) if isinstance(fault, KafkaError) else fault
        if (reason := text_of(found)) != self._reason:
            structlog.get_logger().error("kafka_connection_failed", reason=reason)
        self._reason = reason

    def _create_producer(self) -> Any:
        milliseconds = int(self._seconds * 1000)
        settings = {
            "client_id": "sink-api",
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,
            "max_request_size": self._max_request,
            "max_block_ms": milliseconds,
            "request_timeout_ms": milliseconds // 2,
            "delivery_timeout_ms": milliseconds,
            "bootstrap_timeout_ms": int(_CONNECT_SECONDS * 1000),
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        return open_client(KafkaProducer, self._connection.for_kafka_python("producer", settings))

    def _discard(self, producer: Any) -> None:
        """Drop a producer that gave up a record: its sequence numbers have a gap."""
        with self._lock:
            if self._producer is not producer:
                return
            self._producer = None
            self._retry_at = time.monotonic() + _RECONNECT_SECONDS
        # In a thread: close() waits for the records of other threads.
        threading.Thread(target=_close, args=(producer, 2 * self._seconds), daemon=True).start()


def _close(producer: Any, seconds: float) -> None:
    with suppress(KafkaError):
        producer.close(timeout=seconds)


def _send(producer: Any, topic: str, key: bytes, value: bytes, headers: Headers) -> Any:
    try:
        return producer.send(topic, key=key, value=value, headers=list(headers))
    except KafkaError:
        return None


def _wait_for(future: Any, deadline: float) -> RecordMetadata | None:
    if future is None:
        return None
    try:
        found = future.get(timeout=max(0.0, deadline - time.monotonic()))
    except KafkaError:
        return None
    return RecordMetadata(found.partition, found.offset)
