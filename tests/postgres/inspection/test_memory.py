"""Dead letters are read in portions of bounded size, whatever works through them."""

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
def wide(office: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open dead letters of which two may be held at once."""
    monkeypatch.setattr(dead_letters, "DEFAULT_BYTES", 2 * LARGE + LARGE // 2)
    office.send(*(office.event(number, "bad", town="x" * LARGE) for number in range(COUNT)))
    assert len(office.dead_letters("status")) == COUNT
    return office


class Log:
    """A Kafka that notes how many records are sent at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def send(self, records: Any) -> None:
        self.sizes.append(len(records))

    def close(self) -> None:
        """Nothing is open."""


def test_outbox_sends_bounded_portions(wide: Any) -> None:
    log = Log()
    outbox = Outbox(wide.database, wide.dsn, log, unpublished_gauge(Health()))
    assert outbox.publish() == COUNT
    assert log.sizes == [2, 2, 2]
    outbox.close()


def test_export_reads_bounded_portions(wide: Any) -> None:
    after, sizes = 0, []
    while page := find_after(wide.admin, Wanted(), after):
        after = page[-1].dlq_id
        sizes.append(len(page))
    assert sizes == [2, 2, 2]
    assert len(wide.dlq("export")[1].splitlines()) == COUNT


def test_key_rotation_reads_bounded_portions(wide: Any, monkeypatch: Any) -> None:
    sizes, some = [], key_rotation._some

    def watched(*args: Any) -> Any:
        rows = some(*args)
        sizes.append(len(rows))
        return rows

    monkeypatch.setattr(key_rotation, "_some", watched)
    wide.stop()
    wide.configure("two", "one")
    (record,) = wide.json("rekey")
    assert record == {"database": wide.database, "changed": COUNT, "unopened": 0}
    assert sizes == [2, 2, 2, 0]


def test_list_reads_no_payload(wide: Any, monkeypatch: Any) -> None:
    found, find = [], DlqService.find

    def watched(*args: Any, **options: Any) -> Any:
        found.extend(find(*args, **options))
        return found

    monkeypatch.setattr(DlqService, "find", watched)
    assert len(wide.json("list")) == COUNT
    assert {dead_letter.source_data for _, dead_letter in found} == {b""}
