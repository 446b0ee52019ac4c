"""Dead letters of a batch's rows: shown like an event's, and tried by the next batch."""

from typing import Any

import psycopg
import pytest

from sink_runner.dlq.record import record_of
from sink_runner.dlq.stored_dead_letters import Wanted, find

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"


@pytest.fixture
def batch(office: Any) -> Any:
    """A run of the batch over a source whose second row the target refuses."""
    office.stop()
    office.admin.execute(
        "INSERT INTO person VALUES (1, %s, 'Kota', 'a', 'Kota'), (2, %s, 'Kota', 'bad', 'Kota')",
        (SECRET, SECRET),
    )

    def run() -> int:
        code, out, err = office.call("batch", "people", "--full")
        assert SECRET not in out + err
        return int(code)

    assert run() == 1
    return run


def test_it_is_shown_masked(office: Any, batch: Any) -> None:
    (found,) = office.json("list")
    assert found["partition"] is None
    shown = office.json("show", found["id"], "--as", "clerk")
    assert shown["key"] == {"id": "2"}
    assert shown["after"]["note"] == "bad"
    assert shown["after"]["full_name"] == "Xxxxxxxxxxx Xxxxxxxxxx"
    assert office.json("list", "--key", "2")[0]["id"] == found["id"]


def test_it_is_explained(office: Any, batch: Any) -> None:
    found = office.json("explain", office.id())
    assert {step["name"]: step["state"] for step in found["steps"]}["write"] == "FAILED"
    assert SECRET not in str(found)


def test_the_next_batch_tries_it(office: Any, batch: Any) -> None:
    office.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    code, _, err = office.dlq("replay", office.id())
    assert (code, "the next `sink-runner batch people`" in err) == (0, True)
    assert batch() == 0
    assert office.dead_letters("status") == ["REPLAYED"]
    assert office.rows()[2] == ("Xxxxxxxxxxx Xxxxxxxxxx", "Kota", "bad")


def test_batch_dead_letter_is_published_without_partition(office: Any, batch: Any) -> None:
    with psycopg.connect(office.dsn, autocommit=True) as connection:
        (dead_letter,) = find(connection, Wanted(), most=1)
    heads = dict(record_of(dead_letter, office.database).headers)
    assert heads["__connect.errors.partition"] == b""
    assert heads["__connect.errors.task.id"] == b"batch"
