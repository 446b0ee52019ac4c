"""``sink-runner explain NAME --key``: why the row of a source key is in the target or not."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from sink_runner.inspection.explanation import Reason

from .conftest import MAPPING
from .topic import SECRET, Log

pytestmark = pytest.mark.postgres


@pytest.fixture
def log(harness: Any, monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(harness, monkeypatch)


def explain(log: Log, key: str, *arguments: str) -> dict[str, Any]:
    code, out, err = log.harness.call("explain", "people", "--key", key, "--json", *arguments)
    assert SECRET not in out + err
    assert err == ""
    found = json.loads(out)
    assert code == (0 if found["good"] else 1)
    return found


def insert(log: Log, identity: int, note: str = "a") -> None:
    """Write a row to the source table."""
    log.execute(
        f"INSERT INTO person VALUES ({identity}, '{SECRET}', 'Kota', '{note}', 'Kota')"
        f" ON CONFLICT (id) DO UPDATE SET note = '{note}'"
    )


def capture(log: Log, identity: int, note: str = "a") -> None:
    """Write a row to the source table, and apply its event."""
    insert(log, identity, note)
    log.send(identity, note)


def capture_later(log: Log, identity: int) -> None:
    insert(log, identity)
    log.add(identity)


def drop(log: Log, identity: int) -> None:
    log.harness.plugin.module.DROPPED.add("u")
    insert(log, identity, "u")


def reject(log: Log, identity: int) -> None:
    capture(log, identity, "bad")


def repair_by_batch(log: Log, identity: int) -> None:
    """Write the row of a dead letter past it, as a batch run does."""
    capture(log, identity, "bad")
    insert(log, identity, "b")
    log.execute(
        f"INSERT INTO profile VALUES ({identity}, 'Xxxxxxxxxxx Xxxxxxxxxx', 'Kota', 'b', 7)"
    )


def delete_everywhere(log: Log, identity: int) -> None:
    log.send(identity)
    log.send(identity, op="d")


def delete_from_target(log: Log, identity: int) -> None:
    capture(log, identity)
    log.execute(f"DELETE FROM profile WHERE id = {identity}")


def delete_by_later_event(log: Log, identity: int) -> None:
    capture(log, identity)
    log.send(identity, op="d")


def change_target(log: Log, identity: int) -> None:
    capture(log, identity)
    log.execute(f"UPDATE profile SET note = 'other' WHERE id = {identity}")


def break_rule(log: Log, identity: int) -> None:
    insert(log, identity, "z")


CASES: list[tuple[Callable[[Log, int], None], Reason, str]] = [
    (capture, Reason.PRESENT, "as the source row says; masked by policy: full_name"),
    (drop, Reason.FILTERED, "The source row was dropped by the filter of people"),
    (break_rule, Reason.FAILS, "at step 'map'"),
    (reject, Reason.DEAD, "is dead letter"),
    (repair_by_batch, Reason.PRESENT, "as the source row says"),
    (delete_everywhere, Reason.NO_SOURCE, "neither has the target"),
    (Log.send, Reason.EXTRA, "The source has no such row, and the target has it"),
    (insert, Reason.NOT_CAPTURED, "have no event of it"),
    (delete_from_target, Reason.MISSING, "lacks it. `sink-runner reconcile people --repair`"),
    (delete_by_later_event, Reason.MISSING, "has removed the row at"),
    (change_target, Reason.DIFFERENT, "has other values in note"),
    (capture_later, Reason.NOT_APPLIED, "0 records before it"),
]


def test_each_reason_has_its_sentence(log: Log) -> None:
    for number, (arrange, *_) in enumerate(CASES):
        arrange(log, 10 + number)
    for number, (_, reason, text) in enumerate(CASES):
        found = explain(log, str(10 + number))
        assert (found["reason"], text in found["sentence"]) == (reason, True), found


def test_source_row_is_not_described_as_event(log: Log) -> None:
    reject(log, 1)
    change_target(log, 2)
    texts = [explain(log, key)["source_row"]["sentence"] for key in ("1", "2")]
    assert "would fail now at step 'write'" in texts[0]
    assert texts[1] == "The target differs from the source row in note."
    insert(log, 1, "b")
    found = explain(log, "1")
    assert (found["reason"], found["source_row"]["reason"]) == (Reason.DEAD, Reason.MISSING)
    assert found["source_row"]["sentence"] == "The target has no row for the source row."


def test_facts_of_row_are_listed(log: Log) -> None:
    reject(log, 1)
    capture(log, 1, "b")
    capture(log, 2)
    log.execute(
        "WITH run AS (INSERT INTO sink.reconcile_run (mapping, mode, columns, cluster, seen_before,"
        " snapshot_at) VALUES ('people', 'full', 1, 'c', 1, now()) RETURNING run)"
        " INSERT INTO sink.reconcile_finding (run, kind, key_hash, columns) SELECT run, 'missing',"
        " (SELECT event_key_hash FROM sink.dead_letter LIMIT 1), '{note}' FROM run"
    )
    found = explain(log, '{"id": 1}')
    assert [event["at"].rpartition(":")[2] for event in found["events"]] == ["1", "0"]
    assert [one["status"] for one in found["dead_letters"]] == ["PARKED", "OPEN"]
    assert [(one["kind"], one["columns"]) for one in found["findings"]] == [("missing", "note")]
    assert found["source_row"]["rows"][0]["row"]["full_name"] == "***MASKED***"
    assert explain(log, "2")["audit"][0]["policy_version"] == 1
    _, out, _ = log.harness.call("explain", "people", "--key", "1")
    assert "conflict" not in out
    assert "dead letters: id" in out


def test_scan_of_topic_is_bounded(log: Log) -> None:
    capture(log, 1)
    log.execute("DELETE FROM profile")
    log.send(2)
    assert explain(log, "1")["reason"] == Reason.MISSING
    assert explain(log, "1", "--last", "1")["reason"] == Reason.NOT_CAPTURED
    log.since = {0: 1}
    found = explain(log, "1", "--since", "2026-01-31")
    assert "the records since 2026-01-31" in found["sentence"]
    assert log.requested == datetime.fromisoformat("2026-01-31T00:00:00+00:00")


@pytest.mark.parametrize(
    "declare",
    [
        MAPPING.replace(
            "columns=(", 'streaming=False, schedules=(Schedule("0 0 * * *"),), columns=(', 1
        )
    ],
    indirect=True,
)
def test_row_of_batch_mapping_needs_no_topic(log: Log) -> None:
    insert(log, 1)
    found = explain(log, "1")
    assert (found["reason"], "sink-runner batch people" in found["sentence"]) == (
        Reason.NOT_APPLIED,
        True,
    )


def test_key_of_other_columns_is_refused(log: Log) -> None:
    code, _, err = log.harness.call("explain", "people", "--key", '{"number": 1}')
    assert (code, "not of the columns id" in err) == (78, True)
    assert log.harness.call("explain", "--key", "1")[0] == 2
    assert log.harness.call("explain", "people", "--key", "1", "--at", "a:0:1")[0] == 2
    assert log.harness.call("explain", "people")[0] == 2


def test_state_of_mapping_explains_unapplied_event(log: Log) -> None:
    capture(log, 1)
    capture_later(log, 2)
    assert "Its state is unknown (" in explain(log, "2")["sentence"]
    log.execute(
        "INSERT INTO sink.mapping_control (mapping, desired, reason, changed_by)"
        " VALUES ('people', 'paused', 'maintenance', 'me')"
    )
    for found in (explain(log, "2"), log.explain(1)):
        assert "maintenance" in found["sentence"]
        assert "sink-runner resume people" in found["sentence"]


DERIVED = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="{database}.public.person", target="{database}.public.profile", key=("id",),
        conflict=source_wins(),
        derived=Derived(key=("id",), group=("id",),
            select="SELECT id, full_name, note || '!' AS note FROM {{candidates}}"),
        columns=(
            Column("id", type="integer"), Column("full_name", type="text"),
            Column("note", type="varchar(30)"),
        ),
    )
"""


@pytest.mark.parametrize("declare", [DERIVED], indirect=True)
def test_candidate_of_derived_row_is_explained(log: Log) -> None:
    capture(log, 1)
    found = explain(log, "1")
    assert (found["reason"], found["newest_event"]["reason"]) == (Reason.PRESENT, Reason.PRESENT)
    assert found["target"] == {"id": "1", "full_name": "***MASKED***", "note": "a"}


def test_key_of_wrong_type_is_not_quoted(log: Log) -> None:
    capture(log, 1)
    code, out, err = log.harness.call("explain", "people", "--key", "9876543210x")
    assert (code, "not a value of the types of id" in err) == (78, True)
    assert "9876543210" not in out + err
