"""The checks before a start ask Kafka for the name that Debezium gives a topic."""

from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.config.kafka import Kafka
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.preflight import checklist


def test_check_topic_asks_for_debezium_name(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    monkeypatch.setattr(checklist, "read_topic", lambda _connection, name: requested.append(name))
    monkeypatch.setattr(checklist, "topic_faults", lambda _connection, name, _topic: [name])
    mapping = TableMapping(
        source='north.public."Order Items"',
        target="south.public.items",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
    )
    config: Any = SimpleNamespace(kafka=Kafka(bootstrap="127.0.0.1:9092"))
    (finding,) = checklist.check_topic("items", mapping, config)
    assert requested == [finding.fault] == ["north.public.Order_Items"]
