"""``sink-runner dlq explain``: the step at which the current pipeline stops the event."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"


def steps(harness: Any, index: int = 0) -> dict[str, tuple[str, str]]:
    found = harness.json("explain", harness.id(index))
    assert SECRET not in json.dumps(found)
    return {step["name"]: (step["state"], step["detail"]) for step in found["steps"]}


def test_rejected_write_fails_after_ok_steps(harness: Any) -> None:
    harness.send(harness.event(1, "bad", full_name=SECRET))
    found = steps(harness)
    assert [name for name, (state, _) in found.items() if state == "ok"] == [
        *("open", "decode", "origin", "filter", "rules", "map", "mask", "lookup")
    ]
    assert found["write"][0] == "FAILED"
    assert "23514" in found["write"][1]
    assert "PASS" in found["filter"][1]
    assert "full_name" in found["mask"][1]
    assert "1 of 1 found" in found["lookup"][1]
    assert harness.dlq("explain", harness.id())[0] == 1


def test_explain_of_repaired_row_writes_nothing(harness: Any) -> None:
    harness.send(harness.event(1, "bad", full_name=SECRET))
    harness.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    code, out, err = harness.dlq("explain", harness.id())
    assert (code, err) == (0, "")
    assert "would change 1 rows; rolled back" in out
    assert "***MASKED***" in out
    assert harness.rows() == {}
    assert harness.dead_letters("status", "attempts") == [("OPEN", 0)]


@pytest.mark.parametrize(
    ("invalid", "step"),
    [({"note": "z"}, "map"), ({"district": "Nowhere"}, "lookup"), ({"note": None}, "write")],
)
def test_each_error_fails_its_step(harness: Any, invalid: dict[str, Any], step: str) -> None:
    harness.admin.execute("ALTER TABLE profile ALTER note SET NOT NULL")
    harness.send(harness.event(1, **({"full_name": SECRET} | invalid)))
    found = steps(harness)
    assert [name for name, (state, _) in found.items() if state == "FAILED"] == [step]


def test_current_filter_stops_event(harness: Any) -> None:
    harness.send(harness.event(1, "z"))
    harness.plugin.module.DROPPED.add("z")
    assert steps(harness)["filter"][0] == "stopped"


def test_undecodable_bytes_fail_decode_step(harness: Any) -> None:
    harness.send(harness.event(1)._replace(value=b"\0\0\0\0\2" + b"\xff" * 9))
    assert steps(harness)["decode"][0] == "FAILED"


def test_transient_error_is_reported_as_such(harness: Any) -> None:
    harness.send(harness.event(1, "bad"))
    harness.admin.execute("REVOKE INSERT ON profile FROM sink_writer")
    state, detail = steps(harness)["write"]
    assert state == "FAILED"
    assert "wait or stop" in detail
