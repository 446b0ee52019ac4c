"""Preflight requests topics from Kafka by the names that Debezium gives them."""

from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.config.kafka import Kafka
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.preflight import checklist


def test_check_topic_requests_debezium_name(monkeypatch: pytest.MonkeyPatch) -> None:
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
