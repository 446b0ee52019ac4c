"""Dead letters of a batch run's rows: shown like those of events, retried by the next run."""

from typing import Any

import psycopg
import pytest

from sink_runner.dlq.record import record_of
from sink_runner.dlq.stored_dead_letters import Wanted, find

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"


@pytest.fixture
def batch(harness: Any) -> Any:
    """Run a batch whose second row the target rejects; return a function that runs it again."""
    harness.stop()
    harness.admin.execute(
        "INSERT INTO person VALUES (1, %s, 'Kota', 'a', 'Kota'), (2, %s, 'Kota', 'bad', 'Kota')",
        (SECRET, SECRET),
    )

    def run() -> int:
        code, out, err = harness.call("batch", "people", "--full")
        assert SECRET not in out + err
        return int(code)

    assert run() == 1
    return run


def test_batch_dead_letter_is_shown_masked(harness: Any, batch: Any) -> None:
    (found,) = harness.json("list")
    assert found["partition"] is None
    printed = harness.json("show", found["id"], "--as", "clerk")
    assert printed["key"] == {"id": "2"}
    assert printed["after"]["note"] == "bad"
    assert printed["after"]["full_name"] == "Xxxxxxxxxxx Xxxxxxxxxx"
    assert harness.json("list", "--key", "2")[0]["id"] == found["id"]


def test_batch_dead_letter_is_explained(harness: Any, batch: Any) -> None:
    found = harness.json("explain", harness.id())
    assert {step["name"]: step["state"] for step in found["steps"]}["write"] == "FAILED"
    assert SECRET not in str(found)


def test_next_batch_run_retries_it(harness: Any, batch: Any) -> None:
    harness.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    code, _, err = harness.dlq("replay", harness.id())
    assert (code, "the next `sink-runner batch people`" in err) == (0, True)
    assert batch() == 0
    assert harness.dead_letters("status") == ["REPLAYED"]
    assert harness.rows()[2] == ("Xxxxxxxxxxx Xxxxxxxxxx", "Kota", "bad")


def test_batch_dead_letter_is_published_without_partition(harness: Any, batch: Any) -> None:
    with psycopg.connect(harness.dsn, autocommit=True) as connection:
        (dead_letter,) = find(connection, Wanted(), most=1)
    headers = dict(record_of(dead_letter, harness.database).headers)
    assert headers["__connect.errors.partition"] == b""
    assert headers["__connect.errors.task.id"] == b"batch"
