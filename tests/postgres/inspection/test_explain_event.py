"""``sink-runner explain --at``: why the row of an event is in the target or not."""

from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.inspection.explanation import Reason

from .topic import CONTESTED, KEEPING, SECRET, Log

pytestmark = pytest.mark.postgres


@pytest.fixture
def log(harness: Any, monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(harness, monkeypatch)


def drop_note(log: Log, identity: int) -> int:
    log.harness.plugin.module.DROPPED.add("u")
    return log.send(identity, "u")


def return_from_target(log: Log, identity: int) -> int:
    log.execute(
        "INSERT INTO sink.partition_offset (mapping, cluster_id, topic, topic_id, partition, owner)"
        f" VALUES ('back', 'c', '{log.harness.database}.public.profile', 't', 0, 'o')"
    )
    return log.send(identity, origin="sink/back/0")


def overtake(log: Log, identity: int) -> int:
    offset = log.send(identity)
    log.send(identity, "b")
    return offset


def delete_later(log: Log, identity: int) -> int:
    offset = log.send(identity)
    log.send(identity, op="d")
    return offset


def delete_by_batch(log: Log, identity: int) -> int:
    offset = log.send(identity)
    log.send(identity, op="d")
    log.execute(
        "INSERT INTO sink.batch_run (mapping, target, mode, columns, cluster, seen_before,"
        " snapshot_at, position, sample_position, sample_before)"
        f" SELECT 'people', 't', 'full', 1, 'c', 1, now(), {log.harness.offset}, 1, 1"
    )
    return offset


def delete_by_hand(log: Log, identity: int) -> int:
    offset = log.send(identity)
    log.execute(f"DELETE FROM profile WHERE id = {identity}")
    return offset


def change_by_hand(log: Log, identity: int) -> int:
    offset = log.send(identity)
    log.execute(f"UPDATE profile SET note = 'other' WHERE id = {identity}")
    return offset


def wait_behind(log: Log, identity: int) -> int:
    log.send(identity, "bad")
    return log.send(identity, "b")


def discard(log: Log, identity: int) -> int:
    offset = log.send(identity, "bad")
    code, _, err = log.harness.dlq("discard", log.harness.id(-1), "--reason", "test")
    assert code == 0, err
    return offset


def supersede(log: Log, identity: int) -> int:
    offset = log.send(identity, "bad")
    log.execute(
        "UPDATE sink.dead_letter SET status = 'SUPERSEDED'"
        " WHERE dlq_id = (SELECT max(dlq_id) FROM sink.dead_letter)"
    )
    return offset


def forbid_later(log: Log, identity: int) -> int:
    offset = log.send(identity, "x")
    log.execute("ALTER TABLE profile ADD CHECK (note <> 'x') NOT VALID")
    return offset


def end_with_tombstone(log: Log, identity: int) -> int:
    delete_later(log, identity)
    return log.tombstone(identity)


CASES: list[tuple[Callable[[Log, int], int], Reason, str]] = [
    (Log.send, Reason.PRESENT, "as the event says; masked by policy: full_name"),
    (drop_note, Reason.FILTERED, "dropped by the filter of people"),
    (return_from_target, Reason.ECHO, "came back"),
    (overtake, Reason.STALE, "differs in note"),
    (delete_later, Reason.REMOVED, "A later event has removed the row"),
    (delete_by_batch, Reason.REMOVED_BY_BATCH, "Batch run 1 has removed"),
    (delete_by_hand, Reason.MISSING, "reconcile people --repair"),
    (change_by_hand, Reason.DIFFERENT, "changed note"),
    (lambda log, n: log.send(n, "bad"), Reason.DEAD, "WriteError"),
    (lambda log, n: log.send(n, district="X"), Reason.DEFERRED, "lookup of column 'district'"),
    (wait_behind, Reason.DEFERRED, "behind dead letter"),
    (discard, Reason.DISCARDED, "a person has discarded it"),
    (supersede, Reason.SUPERSEDED, "a newer row"),
    (forbid_later, Reason.FAILS, "at step 'write'"),
    (end_with_tombstone, Reason.TOMBSTONE, "tombstone after a delete event"),
    (Log.add, Reason.NOT_APPLIED, "0 records before it"),
]


def test_each_reason_has_its_sentence(log: Log) -> None:
    places = [arrange(log, 10 + number) for number, (arrange, *_) in enumerate(CASES)]
    for offset, (_, reason, text) in zip(places, CASES, strict=True):
        found = log.explain(offset)
        assert (found["reason"], text in found["sentence"]) == (reason, True), found


def change_on_both_sides(log: Log, identity: int) -> int:
    change_by_hand(log, identity)
    return update(log, identity, "b")


def update(log: Log, identity: int, note: str) -> int:
    before = {"id": identity, "full_name": SECRET, "town": "Kota", "note": "a", "district": "Kota"}
    return log.send(identity, note, op="u", before=before)


@pytest.mark.parametrize("declare", [CONTESTED], indirect=True)
def test_lost_conflicts_are_named(log: Log) -> None:
    log.send(1)
    for offset, reason, text in (
        (update(log, 1, "a"), Reason.UNCHANGED, "no column that the mapping reads"),
        (change_on_both_sides(log, 2), Reason.LOST, "(data_conflict) was decided: target_wins"),
        (delete_later(log, 3) + 1, Reason.CONFLICT, "(deletion_conflict) waits for a person"),
    ):
        found = log.explain(offset)
        assert (found["reason"], text in found["sentence"]) == (reason, True), found


@pytest.mark.parametrize("declare", [KEEPING], indirect=True)
def test_rows_that_mapping_keeps_are_named(log: Log) -> None:
    log.send(1)
    for send, text in (
        (lambda: log.send(1, "b"), "keeps the target's note"),
        (lambda: log.send(1, op="d"), "the mapping ignores that"),
    ):
        found = log.explain(send())
        assert (found["reason"], text in found["sentence"]) == (Reason.KEPT, True), found


def test_row_and_steps_are_masked_for_reader(log: Log) -> None:
    offset = log.send(1)
    found = log.explain(offset)
    assert [row["row"]["full_name"] for row in found["rows"]] == ["***MASKED***"]
    assert found["target"]["full_name"] == "***MASKED***"
    assert found["target"]["note"] == "a"
    steps = {step["name"]: step["detail"] for step in found["steps"]}
    assert "full_name (MASK by policy 1 version 1); policies version 1" in steps["mask"]
    assert steps["merge"] == "source wins"


@pytest.mark.parametrize("place", ["9", "-1", "compacted"])
def test_record_that_kafka_lacks_is_named(log: Log, place: str) -> None:
    offset = log.send(1)
    log.first = 1 if place == "-1" else 0
    log.messages.clear()
    found = log.explain({"9": 9, "-1": 0, "compacted": offset}[place])
    assert (found["reason"], found["steps"]) == ("no_record", [])


def test_explain_writes_nothing(log: Log) -> None:
    log.send(1)
    log.send(2, "bad")
    log.add(3)
    tables = [
        table
        for (table,) in log.harness.admin.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('sink', 'public')"
        )
    ]
    queries = [f"SELECT count(*), max(t::text), max(xmin::text) FROM {t} t" for t in tables]

    def content() -> list[Any]:
        return [log.harness.admin.execute(query).fetchone() for query in [*queries, ORIGINS]]

    before = content()
    for offset in range(3):
        log.explain(offset)
    assert content() == before


ORIGINS = "SELECT count(*) FROM pg_replication_origin"


def test_mapping_that_does_not_read_topic_is_refused(log: Log) -> None:
    code, _, err = log.harness.call("explain", "people", "--at", "other.public.t:0:1")
    assert (code, "reads topic" in err) == (78, True)
    code, _, err = log.harness.call("explain", "--at", "other.public.t:0:1")
    assert (code, "no mapping reads topic" in err) == (78, True)
    assert log.harness.call("explain", "--at", "other:1")[0] == 2
