"""Writes records to Kafka and tells which of them are safe: confirmed by every replica."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError

from ..error_text import text_of
from ..errors import SinkError
from ..kafka.access import failure
from ..kafka.broker_check import answers
from ..kafka.connection import KafkaConnection, open_client

_CONNECT_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
"""After a failure nobody tries: a thread that waits for Kafka is one that no read can have."""


class Place(NamedTuple):
    """Where a record is."""

    partition: int
    offset: int


class Publisher:
    """One producer for all threads, made when it is first needed and anew after a failure."""

    def __init__(
        self, connection: KafkaConnection, *, delivery_seconds: float, max_record_bytes: int
    ) -> None:
        self._connection = connection
        self._seconds = delivery_seconds
        self._max_request = 2 * max_record_bytes  # the caller has checked; this leaves room
        self._producer: Any = None
        self._again = 0.0
        self._reason = ""
        self._lock = threading.Lock()

    def publish(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[Place | None]:
        """Write (key, value) records in their order; None for one that was not confirmed.

        Such a one may be written all the same: sending it again must do no harm.
        """
        bound = time.monotonic() + self._seconds
        try:
            producer = self._connected()
        except (KafkaError, SinkError):
            return [None] * len(records)
        waiting: list[Any] = []
        for record in records:
            # What is refused has been waited for, and the next one would be for as long again.
            stuck = bool(waiting) and waiting[-1] is None
            waiting.append(None if stuck else _sent(producer, topic, *record))
        places = [_confirmed(future, bound) for future in waiting]
        if None in places:
            self._discard(producer)
        return places

    def answers(self) -> bool:
        """Whether a broker answers now: the producer itself only learns of it by failing."""
        return answers(self._connection, _CONNECT_SECONDS)

    def close(self) -> None:
        """Give what is being written its time, then end."""
        with self._lock:
            if self._producer is not None:
                _end(self._producer, self._seconds)
                self._producer = None

    def _connected(self) -> Any:
        with self._lock:
            if time.monotonic() < self._again:
                raise KafkaConnectionError
            if self._producer is None:
                try:
                    # A producer that finds no broker leaves its sockets to the garbage collector.
                    if not self.answers():
                        raise KafkaConnectionError
                    self._producer = self._producer_made()
                except (KafkaError, SinkError) as fault:
                    self._again = time.monotonic() + _PAUSE_SECONDS
                    self._log_failure(fault)
                    raise
                self._reason = ""
            return self._producer

    def _log_failure(self, fault: KafkaError | SinkError) -> None:
        """Log why, once for each reason: a caller only learns that Kafka cannot be had."""
        found = failure(self._connection, fault) if isinstance(fault, KafkaError) else fault
        if (reason := text_of(found)) != self._reason:
            structlog.get_logger().error("kafka_connection_failed", reason=reason)
        self._reason = reason

    def _producer_made(self) -> Any:
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
        """After a record was given up, the numbers by which brokers know duplicates have a gap."""
        with self._lock:
            if self._producer is not producer:
                return
            self._producer = None
            self._again = time.monotonic() + _PAUSE_SECONDS
        # Other threads may wait for records of theirs: these are confirmed or given up first.
        threading.Thread(target=_end, args=(producer, 2 * self._seconds), daemon=True).start()


def _end(producer: Any, seconds: float) -> None:
    with suppress(KafkaError):
        producer.close(timeout=seconds)


def _sent(producer: Any, topic: str, key: bytes, value: bytes) -> Any:
    try:
        return producer.send(topic, key=key, value=value)
    except KafkaError:
        return None


def _confirmed(future: Any, bound: float) -> Place | None:
    if future is None:
        return None
    try:
        found = future.get(timeout=max(0.0, bound - time.monotonic()))
    except KafkaError:
        return None
    return Place(found.partition, found.offset)
