"""Make a Kafka record of a dead letter: encrypted, with headers of Kafka Connect and our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .stored_dead_letters import StoredDeadLetter

TOPIC = "sink.dead-letters.{source}-to-{target}"

_ERRORS = "sink_runner.errors"
# Kafka Connect's names of the stages, and the classes of the runner for them.
_STAGES = {
    "DecodeError": ("VALUE_CONVERTER", "sink_runner.avro.decoder.EnvelopeDecoder"),
    "WriteError": ("TASK_PUT", "sink_runner.writer.writer.Writer"),
}
_CHAIN = ("TRANSFORMATION", "sink_runner.transform.route.Route")


class Record(NamedTuple):
    """A record for Kafka."""

    topic: str
    key: bytes | None
    """The fingerprint of the event's key: the dead letters of a row are in one partition."""
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]

    def without_value(self) -> Record:
        """Return the record for a value that is too large for Kafka; a header says so."""
        return self._replace(value=None, headers=[*self.headers, ("sink.too-large", b"true")])


def record_of(dead_letter: StoredDeadLetter, target: str) -> Record:
    """Make the record for the topic of the dead letter's direction."""
    source = dead_letter.topic.partition(".")[0]
    headers = [
        *((f"__connect.errors.{name}", value) for name, value in _connect(dead_letter).items()),
        *((f"sink.{name}", value) for name, value in _ours(dead_letter, target).items()),
    ]
    return Record(
        TOPIC.format(source=source, target=target),
        dead_letter.event_key_hash,
        dead_letter.source_data,
        [(name, value.encode()) for name, value in headers],
    )


def _connect(dead_letter: StoredDeadLetter) -> dict[str, str]:
    stage, class_ = _STAGES.get(dead_letter.error_class, _CHAIN)
    partition = "" if dead_letter.partition is None else str(dead_letter.partition)
    return {
        "topic": dead_letter.topic,
        "partition": partition,
        "offset": str(dead_letter.offset),
        "connector.name": f"sink.{dead_letter.flow}",
        "task.id": partition or "batch",
        "stage": stage,
        "class.name": class_,
        "exception.class.name": f"{_ERRORS}.{dead_letter.error_class}",
        "exception.message": dead_letter.error_message,
        "exception.stacktrace": dead_letter.stack_trace,
    }


def _ours(dead_letter: StoredDeadLetter, target: str) -> dict[str, str]:
    return {
        "mapping": dead_letter.flow,
        "plugin-version": dead_letter.plugin_version,
        "key-id": dead_letter.key_id,
        "dlq-id": f"{target}/{dead_letter.dlq_id}",
        "sqlstate": dead_letter.sqlstate or "",
        "attempts": str(dead_letter.attempts),
        "status": dead_letter.status,
    }
