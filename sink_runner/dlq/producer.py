"""Send dead letters to Kafka, and wait for its confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from ..kafka.broker_check import client_error, is_reachable
from ..kafka.connection import KafkaConnection, open_client
from ..kafka.record_size import PRODUCED_BYTES
from .record import Record

_SECONDS = 5.0
_REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError)
"""Refusals of a record that exceeds the limit of the client, the broker or the topic."""


class Producer:
    """Sends records by one client, which is replaced after a failure."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: Any = None

    def send(self, records: Sequence[Record]) -> None:
        """Return when every replica has confirmed all records.

        Raises RetriableError if one is not confirmed, AccessError if Kafka refuses the client.
        """
        try:
            producer = self._connected()
            sent = [(record, _send(producer, record)) for record in records]
            for record, future in sent:
                _confirm(producer, record, future)
        except KafkaError as fault:
            # A record in flight would arrive after those of the next attempt.
            self.close()
            raise client_error(self._connection, fault) from fault

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                producer.close(timeout=_SECONDS)

    def _connected(self) -> Any:
        if self._producer is None:
            if not is_reachable(self._connection, _SECONDS):
                raise KafkaConnectionError
            milliseconds = int(_SECONDS * 1000)
            settings = {
                "client_id": "sink-dead-letters",
                "acks": "all",
                "enable_idempotence": True,
                "max_request_size": PRODUCED_BYTES,
                "max_block_ms": milliseconds,
                "request_timeout_ms": milliseconds // 2,
                "delivery_timeout_ms": milliseconds,
                "bootstrap_timeout_ms": milliseconds // 2,
                "allow_auto_create_topics": False,
                "metrics_enabled": False,
            }
            self._producer = open_client(
                KafkaProducer, self._connection.for_kafka_python("producer", settings)
            )
        return self._producer


def _send(producer: Any, record: Record) -> Any:
    topic, key, value, headers = record
    try:
        return producer.send(topic, key=key, value=value, headers=list(headers))
    except _REFUSED:
        return _send_without_value(producer, record)


def _confirm(producer: Any, record: Record, future: Any) -> None:
    """Wait for the confirmation; send the record without its value if Kafka finds it too large."""
    try:
        future.get(timeout=_SECONDS)
    except _REFUSED:
        _send_without_value(producer, record).get(timeout=_SECONDS)


def _send_without_value(producer: Any, record: Record) -> Any:
    topic, key, value, headers = record.without_value()
    return producer.send(topic, key=key, value=value, headers=list(headers))
