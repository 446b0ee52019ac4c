"""Records without a value, on their way through a worker."""

import time

import pytest

from .conftest import Stage

pytestmark = pytest.mark.postgres


def rows(stage: Stage) -> list[int]:
    return [row[0] for row in stage.made.rows("id")]


def send_tombstone(stage: Stage, key: bytes) -> None:
    log = stage.broker.logs[0]
    stage.broker.send(0, 0, key=key)
    log[-1] = log[-1]._replace(value=None)


def until(stage: Stage, expected: list[int]) -> None:
    deadline = time.monotonic() + 20
    while rows(stage) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rows(stage) == expected


def test_lone_tombstone_removes_the_row(stage: Stage) -> None:
    """Its delete event is gone from the topic, which has other records of the key before it."""
    stage.broker.send(0, 1, key=b"1")
    stage.broker.send(0, 2, key=b"2")
    send_tombstone(stage, b"1")
    stage.broker.send(0, 3, key=b"3")
    with stage.running():
        until(stage, [2, 3])


def test_row_after_a_lone_tombstone_stays(stage: Stage) -> None:
    stage.broker.send(0, 2, key=b"2")
    send_tombstone(stage, b"1")
    stage.broker.send(0, 1, key=b"1")
    with stage.running():
        until(stage, [1, 2])


def test_tombstone_after_record_of_its_key_changes_nothing(stage: Stage) -> None:
    """As Debezium sends it: the record before it has said that the row is gone."""
    stage.broker.send(0, 1, key=b"1")
    send_tombstone(stage, b"1")
    stage.broker.send(0, 2, key=b"2")
    with stage.running():
        until(stage, [1, 2])
