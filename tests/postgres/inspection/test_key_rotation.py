"""Key rotation of the dead letters: none is lost, and events of a row keep their order."""

from typing import Any

import pytest

from sink_runner.dlq.key_rotation import check_fingerprints
from sink_runner.errors import ConfigError

pytestmark = pytest.mark.postgres


def restart_with_keys(harness: Any, key: str, *old_keys: str) -> None:
    """Stop the pipeline and start it with these keys."""
    harness.stop()
    harness.configure(key, *old_keys)
    check_fingerprints(harness.dsn, "people", harness.encryptor)
    harness.start()


def repair_and_replay(harness: Any) -> None:
    harness.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    harness.dlq("replay", "--mapping", "people", "--yes")
    harness.retry()


def test_row_order_is_kept_with_two_keys(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    restart_with_keys(harness, "two", "one")
    harness.send(
        harness.event(1, "b")
    )  # encrypted with the new key; waits for one with the old key
    assert harness.written_notes(1) == []
    assert harness.dead_letters("key_id") == ["one", "two"]
    repair_and_replay(harness)
    assert harness.written_notes(1)[-1] == "b"
    assert harness.dead_letters("status") == ["REPLAYED", "REPLAYED"]


def test_key_rotation_runs_beside_the_runner(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    restart_with_keys(harness, "two", "one")
    harness.send(harness.event(1, "b"), harness.event(2, "z"))
    (record,) = harness.json("rekey")
    assert record == {"database": harness.database, "changed": 1, "unopened": 0}
    assert set(harness.dead_letters("key_id")) == {"two"}
    harness.send(harness.event(1, "c"))
    assert harness.written_notes(1) == []
    repair_and_replay(harness)
    assert harness.written_notes(1)[-1] == "c"


def test_fingerprints_are_rotated_while_no_runner_runs(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    restart_with_keys(harness, "two", "one")
    code, _, err = harness.dlq("rekey", "--fingerprints")
    assert (code, "runners" in err) == (78, True)
    harness.stop()
    code, _, err = harness.dlq("rekey", "--fingerprints")
    assert (code, "comes first" in err) == (78, True)
    harness.dlq("rekey")
    before = harness.dead_letters("event_key_hash")
    assert harness.dlq("rekey", "--fingerprints")[0] == 0
    assert harness.dead_letters("event_key_hash") != before
    restart_with_keys(harness, "two")
    harness.send(harness.event(1, "b"))
    assert harness.written_notes(1) == []
    repair_and_replay(harness)
    assert harness.written_notes(1)[-1] == "b"


def test_runner_with_wrong_keys_does_not_start(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    with pytest.raises(ConfigError, match="'one' has encrypted"):
        restart_with_keys(harness, "two")
    with pytest.raises(ConfigError, match="another key than the oldest"):
        restart_with_keys(harness, "two", "old", "one")
    restart_with_keys(harness, "two", "one")


def test_dead_letter_without_key_is_reported(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    harness.configure("two")
    code, out, _ = harness.dlq("rekey")
    assert (code, "not in old_keys" in out) == (1, True)
    assert harness.dead_letters("key_id") == ["one"]
    # It can be discarded without its key.
    assert harness.dlq("discard", harness.id(), "--reason", "lost")[0] == 0
    check_fingerprints(harness.dsn, "people", harness.encryptor)


def test_batch_checks_keys_before_it_starts(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    harness.stop()
    harness.configure("two")
    code, _, err = harness.call("batch", "people", "--full")
    assert (code, "'one' has encrypted" in err) == (78, True)
