"""Another key for the dead letters: nothing is lost, and nothing overtakes."""

from typing import Any

import pytest

from sink_runner.dlq.key_rotation import check_fingerprints
from sink_runner.errors import ConfigError

pytestmark = pytest.mark.postgres


def rotated(office: Any, key: str, *old: str) -> None:
    """Stop, and start with other keys."""
    office.stop()
    office.configure(key, *old)
    check_fingerprints(office.dsn, "people", office.encryptor)
    office.start()


def finish(office: Any) -> None:
    office.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    office.dlq("replay", "--mapping", "people", "--yes")
    office.retry()


def test_while_there_are_two_keys_nothing_overtakes(office: Any) -> None:
    office.send(office.event(1, "bad"))
    rotated(office, "two", "one")
    office.send(office.event(1, "b"))  # encrypted with the new key, behind one of the old
    assert office.order(1) == []
    assert office.dead_letters("key_id") == ["one", "two"]
    finish(office)
    assert office.order(1)[-1] == "b"
    assert office.dead_letters("status") == ["REPLAYED", "REPLAYED"]


def test_key_rotation_works_beside_the_runner(office: Any) -> None:
    office.send(office.event(1, "bad"))
    rotated(office, "two", "one")
    office.send(office.event(1, "b"), office.event(2, "z"))
    (record,) = office.json("rekey")
    assert record == {"database": office.database, "changed": 1, "unopened": 0}
    assert set(office.dead_letters("key_id")) == {"two"}
    office.send(office.event(1, "c"))
    assert office.order(1) == []
    finish(office)
    assert office.order(1)[-1] == "c"


def test_the_fingerprints_follow_once_no_runner_runs(office: Any) -> None:
    office.send(office.event(1, "bad"))
    rotated(office, "two", "one")
    code, _, err = office.dlq("rekey", "--fingerprints")
    assert (code, "runners" in err) == (78, True)
    office.stop()
    code, _, err = office.dlq("rekey", "--fingerprints")
    assert (code, "comes first" in err) == (78, True)
    office.dlq("rekey")
    before = office.dead_letters("event_key_hash")
    assert office.dlq("rekey", "--fingerprints")[0] == 0
    assert office.dead_letters("event_key_hash") != before
    rotated(office, "two")
    office.send(office.event(1, "b"))
    assert office.order(1) == []
    finish(office)
    assert office.order(1)[-1] == "b"


def test_a_runner_with_other_keys_does_not_start(office: Any) -> None:
    office.send(office.event(1, "bad"))
    with pytest.raises(ConfigError, match="'one' has encrypted"):
        rotated(office, "two")
    with pytest.raises(ConfigError, match="another key than the oldest"):
        rotated(office, "two", "old", "one")
    rotated(office, "two", "one")


def test_dead_letter_without_key_is_reported(office: Any) -> None:
    office.send(office.event(1, "bad"))
    office.configure("two")
    code, out, _ = office.dlq("rekey")
    assert (code, "not in old_keys" in out) == (1, True)
    assert office.dead_letters("key_id") == ["one"]
    # It can be given up without its key.
    assert office.dlq("discard", office.id(), "--reason", "lost")[0] == 0
    check_fingerprints(office.dsn, "people", office.encryptor)


def test_batch_looks_at_keys_before_it_starts(office: Any) -> None:
    office.send(office.event(1, "bad"))
    office.stop()
    office.configure("two")
    code, _, err = office.call("batch", "people", "--full")
    assert (code, "'one' has encrypted" in err) == (78, True)
