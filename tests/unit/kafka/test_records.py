"""Reading records at offsets, with the gaps that compaction and transactions leave."""

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from sink_runner.errors import RetriableError
from sink_runner.kafka import records as module
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.records import Records

PLACE = TopicPartition("t", 0)


class Consumer:
    """Returns up to two records at each poll; `offsets` are those that the log still has."""

    def __init__(self, offsets: list[int], end: int) -> None:
        self.offsets, self.end, self.at = offsets, end, 0
        self.polls = 0

    def assign(self, places: list[TopicPartition]) -> None:
        assert places == [PLACE]

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert place == PLACE
        self.at = offset

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        self.polls += 1
        found = [offset for offset in self.offsets if offset >= self.at][:2]
        self.at = found[-1] + 1 if found else self.end
        return {PLACE: [record(offset) for offset in found]}

    def position(self, _place: TopicPartition) -> int:
        return self.at


def record(offset: int) -> Any:
    return SimpleNamespace(
        topic="t",
        partition=0,
        offset=offset,
        key=b"k",
        value=b"v",
        headers=[],
        leader_epoch=3,
        timestamp=5,
    )


@pytest.fixture
def connection() -> KafkaConnection:
    return KafkaConnection("127.0.0.1:9")


@pytest.mark.parametrize(
    ("first", "end", "found"),
    [(0, 7, [0, 2, 3]), (1, 3, [2]), (4, 7, []), (0, 1, [0])],
    ids=str,
)
def test_scan_yields_records_within_bounds(
    connection: KafkaConnection, first: int, end: int, found: list[int]
) -> None:
    records = Records(connection, Consumer([0, 2, 3], 7))
    assert [message.offset for message in records.scan("t", 0, first, end)] == found


def test_compacted_record_is_none(connection: KafkaConnection) -> None:
    records = Records(connection, Consumer([0, 2, 3], 7))
    assert records.read("t", 0, 1) is None
    message = records.read("t", 0, 2)
    assert message is not None
    assert (message.value, message.leader_epoch, message.timestamp) == (b"v", 3, 5)


def test_silent_broker_ends_scan(
    connection: KafkaConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.0)
    silent = Consumer([], 0)
    with pytest.raises(RetriableError, match="from offset 0 on"):
        list(Records(connection, silent).scan("t", 0, 0, 7))
