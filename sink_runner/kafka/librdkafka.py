"""A feed by librdkafka, the C client: 19 µs of CPU for each event, 23 with kafka-python.

The extra `pip install 'sink-runner[librdkafka]'` is used if it is installed, unless `kafka.client`
names the other client.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from ..errors import AccessError, ConfigError, SinkError
from ..model.message import NO_LEADER_EPOCH, Message
from .broker_check import (
    MEMBERSHIP_ERRORS,
    acl_error,
    login_error,
    membership_error,
    outage_error,
)
from .connection import KafkaConnection
from .feed import PING_SECONDS, Bounds
from .record_size import (
    FETCHED_BYTES,
    PARTITION_FETCH_BYTES,
    QUEUED_BYTES,
    RECEIVED_BYTES,
    STORED_BYTES,
)

# The settings of librdkafka whose default is not suitable.
_SETTINGS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Only decides until the worker has sought.
    "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": QUEUED_BYTES // 1024,
    "max.partition.fetch.bytes": PARTITION_FETCH_BYTES,
    "fetch.max.bytes": FETCHED_BYTES,
    "message.max.bytes": STORED_BYTES,
    "receive.message.max.bytes": RECEIVED_BYTES,
    # After reading ahead, the time until the next fetch; the default is a second.
    "fetch.queue.backoff.ms": 5,
    "log_level": 2,  # it would write to stderr; errors are raised here
}
_ASK_SECONDS = 10.0
_SEEK_SECONDS = 10.0
_SEEK_AGAIN = 0.01
_PAUSE_AFTER = 1.0  # seconds without a poll
_NOT_READ_YET = "_STATE"


_LOGIN_REFUSED = "_AUTHENTICATION"
_ONLY_FATAL_ERROR = "_FATAL"  # of a consumer
_CALLBACK_ONLY = frozenset({_LOGIN_REFUSED, "_SSL"})
"""Errors that librdkafka reports only to its callback, and then retries for ever."""
_PROPERTY = re.compile(r'property: "([^"]+)"|property "([^"]+)"')


def _failure(connection: KafkaConnection, error: KafkaError) -> SinkError:
    """Return what to raise for an error: an AccessError or a RetriableError."""
    name = error.name()
    if name == _LOGIN_REFUSED:
        return login_error(connection)
    if name == _ONLY_FATAL_ERROR:
        name = "FENCED_INSTANCE_ID"
    if name.endswith("AUTHORIZATION_FAILED"):
        return acl_error(connection, name)
    if name in MEMBERSHIP_ERRORS:
        return membership_error(connection, name)
    return outage_error(connection, name)


class LibrdkafkaFeed:
    """A feed whose records are fetched and parsed by threads outside of Python."""

    def __init__(
        self, connection: KafkaConnection, group: str, topic: str, *, max_records: int
    ) -> None:
        self._connection, self._topic = connection, topic
        self._most = max_records
        self._held: list[Any] = []
        """Records that `keep_alive` received; the next poll returns them."""
        self._paused: set[int] = set()
        self._busy_since = 0.0
        """When `keep_alive` was first called after the last `poll`; 0 if it was not."""
        self._reported: KafkaError | None = None
        self._token_fault: Exception | None = None
        self._consumer = self._open(group)
        with self._raise_errors():
            self._consumer.subscribe([topic])

    def _open(self, group: str) -> Consumer:
        names = {"group.id": group, "client.id": group, "error_cb": self._keep_error}
        settings = self._connection.for_librdkafka({**names, **_SETTINGS}, self._keep_token_fault)
        try:
            return Consumer(settings)
        except KafkaException as fault:
            # The text may quote a value.
            found = _PROPERTY.search(fault.args[0].str())
            name = next(filter(None, found.groups()), "") if found else ""
            raise ConfigError(
                f"kafka.options.librdkafka: librdkafka does not accept {name or 'the settings'}: "
                "compare it with CONFIGURATION.md of librdkafka"
            ) from fault

    def _keep_error(self, error: KafkaError) -> None:
        """Keep an error of a connection until the next poll; librdkafka calls it from there."""
        if error.name() in _CALLBACK_ONLY:
            self._reported = error

    def _keep_token_fault(self, fault: Exception) -> None:
        self._token_fault = fault

    @contextmanager
    def _raise_errors(self) -> Iterator[None]:
        """Raise AccessError where Kafka refuses the client, RetriableError for other errors."""
        try:
            yield
        except KafkaException as fault:
            reported, self._reported = self._reported, None
            raise self._reason(reported or fault.args[0]) from fault

    def _reason(self, error: KafkaError) -> SinkError:
        """Return the error to raise: a token that was not renewed explains a refused login."""
        fault, self._token_fault = self._token_fault, None
        return fault if isinstance(fault, SinkError) else _failure(self._connection, error)

    def _check_reported(self) -> None:
        """Raise AccessError if librdkafka reported a refusal that lasts."""
        reported, self._reported = self._reported, None
        if reported is not None and isinstance(reason := self._reason(reported), AccessError):
            raise reason

    def poll(self, seconds: float) -> Mapping[int, Sequence[Message]]:
        with self._raise_errors():
            self._resume()
            # For one record, since consume(n) waits until it has n or the time is up.
            came = self._held or self._consumer.consume(1, seconds)
            self._held = []
            if came and len(came[0].value() or b"") < PARTITION_FETCH_BYTES:
                came += self._consumer.consume(max(self._most - len(came), 0), 0.0)
        if not came:
            self._check_reported()
        return self._by_partition(came)

    def _by_partition(self, came: Sequence[Any]) -> Mapping[int, Sequence[Message]]:
        found: dict[int, list[Message]] = {}
        for record in came:
            error = record.error()
            if error is not None:
                raise self._reason(error)  # the worker seeks to the other records again
            partition = record.partition()
            headers = record.headers() or ()
            place = (self._topic, partition, record.offset())
            epoch = record.leader_epoch()  # 0.1 µs
            epoch = NO_LEADER_EPOCH if epoch is None else epoch
            stamp = record.timestamp()[1]
            message = Message(*place, record.key(), record.value(), headers, epoch, stamp)
            found.setdefault(partition, []).append(message)
        return found

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records.

        While a writer retries, the partitions are paused: what arrives would become one batch.  A
        pause drops what was fetched ahead, so a write of usual length must not cause one.
        """
        self._busy_since = self._busy_since or time.monotonic()
        if time.monotonic() - self._busy_since < _PAUSE_AFTER:
            return  # the heartbeats come from a thread of librdkafka
        with self._raise_errors():
            self._pause()
            # Rebalances are served here; what a new partition brings before it is paused is held.
            self._held += self._consumer.consume(1, 0.0)
            self._pause()

    def _pause(self) -> None:
        new = [one for one in self._consumer.assignment() if one.partition not in self._paused]
        if new:
            self._consumer.pause(new)
            self._paused |= {one.partition for one in new}

    def _resume(self) -> None:
        self._busy_since = 0.0
        if self._paused:
            self._paused.clear()
            # A partition that the group has reassigned cannot be resumed.
            self._consumer.resume(self._consumer.assignment())

    def assignment(self) -> set[int]:
        with self._raise_errors():
            return {place.partition for place in self._consumer.assignment()}

    def seek(self, partition: int, offset: int | None) -> None:
        self._held = [record for record in self._held if record.partition() != partition]
        place = TopicPartition(
            self._topic, partition, OFFSET_BEGINNING if offset is None else offset
        )
        until = time.monotonic() + _SEEK_SECONDS
        while not self._sought(place):
            if time.monotonic() > until:
                return  # records from elsewhere make the worker seek again
            time.sleep(_SEEK_AGAIN)

    def _sought(self, place: TopicPartition) -> bool:
        """Seek, and return False if the partition is assigned but not being fetched yet."""
        try:
            self._consumer.seek(place)
        except KafkaException as fault:
            return bool(fault.args[0].name() != _NOT_READ_YET)
        return True

    def bounds(self, partition: int) -> Bounds:
        place = TopicPartition(self._topic, partition)
        with self._raise_errors():
            first, end = self._consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
        return Bounds(first, end)

    def ping(self) -> None:
        with self._raise_errors():
            self._consumer.list_topics(self._topic, timeout=PING_SECONDS)

    def mirror(self, offsets: Mapping[int, int]) -> None:
        with suppress(KafkaException, SinkError):
            assigned = self.assignment()
            known = [
                TopicPartition(self._topic, partition, offset)
                for partition, offset in offsets.items()
                if partition in assigned
            ]
            if known:
                self._consumer.commit(offsets=known, asynchronous=True)

    def close(self) -> None:
        self._consumer.close()
