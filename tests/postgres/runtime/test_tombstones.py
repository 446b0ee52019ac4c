"""A worker with records without a value (Kafka's tombstones)."""

import pytest

from ...support.waits import eventually
from .conftest import WorkerHarness

pytestmark = pytest.mark.postgres


def rows(harness: WorkerHarness) -> list[int]:
    return [row[0] for row in harness.target.rows("id")]


def send_tombstone(harness: WorkerHarness, key: bytes) -> None:
    log = harness.broker.logs[0]
    harness.broker.send(0, 0, key=key)
    log[-1] = log[-1]._replace(value=None)


def wait_for_rows(harness: WorkerHarness, expected: list[int]) -> None:
    eventually(lambda: rows(harness) == expected)


def test_lone_tombstone_removes_the_row(harness: WorkerHarness) -> None:
    """Compaction has removed its delete event, but not yet the earlier records of the key."""
    harness.broker.send(0, 1, key=b"1")
    harness.broker.send(0, 2, key=b"2")
    send_tombstone(harness, b"1")
    harness.broker.send(0, 3, key=b"3")
    with harness.running():
        wait_for_rows(harness, [2, 3])


def test_row_after_a_lone_tombstone_stays(harness: WorkerHarness) -> None:
    harness.broker.send(0, 2, key=b"2")
    send_tombstone(harness, b"1")
    harness.broker.send(0, 1, key=b"1")
    with harness.running():
        wait_for_rows(harness, [1, 2])


def test_tombstone_after_record_of_its_key_changes_nothing(harness: WorkerHarness) -> None:
    """Debezium sends a tombstone right after the delete event of its key."""
    harness.broker.send(0, 1, key=b"1")
    send_tombstone(harness, b"1")
    harness.broker.send(0, 2, key=b"2")
    with harness.running():
        wait_for_rows(harness, [1, 2])
