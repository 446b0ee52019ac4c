"""The outbox, the export and the key rotation read dead letters in batches of bounded size."""

from typing import Any

import pytest

from sink_runner.dlq import key_rotation
from sink_runner.dlq import stored_dead_letters as dead_letters
from sink_runner.dlq.outbox import Outbox, unpublished_gauge
from sink_runner.dlq.stored_dead_letters import Wanted, find_after
from sink_runner.inspection.service import DlqService
from sink_runner.model.status import Health

pytestmark = pytest.mark.postgres

LARGE = 100_000
COUNT = 6


@pytest.fixture
def large_rows(harness: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open dead letters, of which at most two fit into a batch."""
    monkeypatch.setattr(dead_letters, "DEFAULT_BYTES", 2 * LARGE + LARGE // 2)
    harness.send(*(harness.event(number, "bad", town="x" * LARGE) for number in range(COUNT)))
    assert len(harness.dead_letters("status")) == COUNT
    return harness


class RecordingProducer:
    """A producer that records the size of each batch."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def send(self, records: Any) -> None:
        self.sizes.append(len(records))

    def close(self) -> None:
        """There is nothing to close."""


def test_outbox_sends_bounded_batches(large_rows: Any) -> None:
    producer = RecordingProducer()
    outbox = Outbox(large_rows.database, large_rows.dsn, producer, unpublished_gauge(Health()))
    assert outbox.publish() == COUNT
    assert producer.sizes == [2, 2, 2]
    outbox.close()


def test_export_reads_bounded_batches(large_rows: Any) -> None:
    after, sizes = 0, []
    while page := find_after(large_rows.admin, Wanted(), after):
        after = page[-1].dlq_id
        sizes.append(len(page))
    assert sizes == [2, 2, 2]
    assert len(large_rows.dlq("export")[1].splitlines()) == COUNT


def test_key_rotation_reads_bounded_batches(large_rows: Any, monkeypatch: Any) -> None:
    sizes, original = [], key_rotation._some

    def record_size(*args: Any) -> Any:
        rows = original(*args)
        sizes.append(len(rows))
        return rows

    monkeypatch.setattr(key_rotation, "_some", record_size)
    large_rows.stop()
    large_rows.configure("two", "one")
    (record,) = large_rows.json("rekey")
    assert record == {"database": large_rows.database, "changed": COUNT, "unopened": 0}
    assert sizes == [2, 2, 2, 0]


def test_list_reads_no_payload(large_rows: Any, monkeypatch: Any) -> None:
    found, find = [], DlqService.find

    def record_found(*args: Any, **options: Any) -> Any:
        found.extend(find(*args, **options))
        return found

    monkeypatch.setattr(DlqService, "find", record_found)
    assert len(large_rows.json("list")) == COUNT
    assert {dead_letter.source_data for _, dead_letter in found} == {b""}
