"""The command `replay` on a real database, with the answers of Kafka."""

from typing import Any

import pytest

from sink_runner.control import replay
from sink_runner.kafka.feed import Bounds
from sink_runner.kafka.offset_queries import TopicOffsets
from sink_runner.model.partition import Topic

pytestmark = pytest.mark.postgres
TOPIC = "north.public.apples"
OFFSETS = "SELECT partition, next_offset, epoch FROM sink.partition_offset ORDER BY partition"
BEFORE = [(0, 8, 4), (1, 9, 4)]


@pytest.fixture
def apples(control: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A mapping that has applied two partitions, up to offsets 8 and 9 of 10."""
    held = {0: TopicOffsets(Bounds(0, 10), 4), 1: TopicOffsets(Bounds(2, 10), 9)}
    monkeypatch.setattr(replay, "identify", lambda _kafka, name: Topic("c", name, "id"))
    monkeypatch.setattr(replay, "offsets_at", lambda _kafka, _topic, _ms: held)
    for partition, offset, epoch in BEFORE:
        control.admin.execute(
            "INSERT INTO sink.partition_offset (mapping, cluster_id, topic, topic_id, partition, "
            "next_offset, epoch, owner, leader_epoch) "
            "VALUES ('apples', 'c', %s, 'id', %s, %s, %s, 'host:1', 2)",
            (TOPIC, partition, offset, epoch),
        )
    return control


def offsets(control: Any) -> list[tuple[int, int, int]]:
    return control.admin.execute(OFFSETS).fetchall()


def test_replay_moves_offsets_and_fences(apples: Any) -> None:
    code, out, _ = apples("replay", "apples", "--from", "2026-03-01T12:00", "--yes")
    assert code == 0
    assert f"4 events of topic {TOPIC} are read again" in out
    assert "partition 0: offsets 4 to 7" in out
    assert offsets(apples) == [(0, 4, 5), (1, 9, 4)]
    (row,) = apples.rows("SELECT leader_epoch FROM sink.partition_offset WHERE partition = 0")
    assert row == {"leader_epoch": -1}


def test_runners_follow_a_replay(apples: Any) -> None:
    link = apples.link()
    link.turn()
    before = link.wanted_of("apples")
    apples("replay", "apples", "--from", "offset:1:2", "--yes")
    link.turn()
    assert link.wanted_of("apples").replay > before.replay == 0
    assert link.wanted_of("pears").replay == 0


@pytest.mark.parametrize(
    ("words", "code"), [(("--dry-run",), 0), ((), 78)], ids=["dry run", "no terminal"]
)
def test_plan_alone_changes_nothing(apples: Any, words: tuple[str, ...], code: int) -> None:
    found, out, err = apples("replay", "apples", "--from", "offset:0:4", *words)
    assert found == code
    assert "4 events" in out
    assert ("pass --yes" in err) == (code == 78)
    assert offsets(apples) == BEFORE


def test_replay_of_all_partitions_is_one_transaction(apples: Any) -> None:
    """The runner of the second partition has lost events since the plan: none is moved."""
    found = replay.find_steps
    apples.admin.execute("DELETE FROM sink.partition_offset WHERE partition = 1")

    def both(*given: Any) -> list[replay.Step]:
        return [*found(*given), replay.Step(1, 3, 9)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "find_steps", both)
        code, _, err = apples("replay", "apples", "--from", "offset:0:4", "--yes")
    assert code == 1
    assert "make it again" in err
    assert offsets(apples) == BEFORE[:1]
    assert apples.rows("SELECT * FROM sink.control_request") == []


def test_dead_letters_of_range_are_superseded(apples: Any) -> None:
    for partition, offset in ((0, 3), (0, 4), (1, 8)):
        apples.admin.execute(
            'INSERT INTO sink.dead_letter (flow, topic, partition, "offset", error_class, '
            "error_message, stack_trace, source_data, key_id, plugin_version, status) "
            "VALUES ('apples', %s, %s, %s, 'E', 'm', 't', 'x', 'k', '1', 'OPEN')",
            (TOPIC, partition, offset),
        )
    apples("replay", "apples", "--from", "offset:0:4", "--yes")
    found = apples.admin.execute("SELECT status FROM sink.dead_letter ORDER BY dlq_id").fetchall()
    assert found == [("OPEN",), ("SUPERSEDED",), ("OPEN",)]


def test_replay_is_recorded_and_audited(apples: Any) -> None:
    apples("replay", "apples", "--from", "offset:0:4", "--yes", "--as", "ada")
    (request,) = apples.rows("SELECT * FROM sink.control_request")
    assert (request["kind"], request["requested_by"]) == ("replay", "ada")
    assert request["arguments"] == {"0": [4, 8]}
    (entry,) = apples.rows("SELECT user_id, details FROM sink.audit_log")
    assert (entry["user_id"], entry["details"]["offsets"]) == ("ada", {"0": [4, 8]})


def test_mapping_without_topic_is_refused(apples: Any) -> None:
    code, _, err = apples("replay", "plums", "--from", "offset:0:4", "--yes")
    assert code == 78
    assert "run `sink-runner batch plums --full`" in err


def test_unknown_form_of_start_is_refused(apples: Any) -> None:
    code, _, err = apples("replay", "apples", "--from", "yesterday")
    assert code == 2
    assert "offset:PARTITION:OFFSET" in err
