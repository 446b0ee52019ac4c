"""Queries while Kafka is away."""

from collections.abc import Callable

import pytest

from sink_runner.errors import RetriableError
from sink_runner.kafka import offset_queries
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.log_ends import LogEnds
from sink_runner.kafka.topic_identity import identify

_AWAY = KafkaConnection("127.0.0.1:1")


@pytest.mark.parametrize(
    "query",
    [
        lambda: identify(_AWAY, "t"),
        lambda: offset_queries.topic_bounds(_AWAY, "t"),
        lambda: offset_queries.epoch_end(_AWAY, "t", 0, 1),
        lambda: LogEnds(_AWAY).bounds(["t"]),
    ],
    ids=["identify", "topic_bounds", "epoch_end", "LogEnds"],
)
def test_no_client_waits_for_an_outage(
    query: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of kafka-python waits half a minute before it says that Kafka is away."""

    def open_client(*_: object) -> None:
        pytest.fail("it waits for a broker")

    monkeypatch.setattr(offset_queries, "open_client", open_client)
    with pytest.raises(RetriableError, match=r"^Kafka does not answer$"):
        query()
