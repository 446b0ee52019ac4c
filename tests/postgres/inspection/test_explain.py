"""``sink-runner dlq explain``: where the chain of today would stop a letter's event."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"


def steps(office: Any, at: int = 0) -> dict[str, tuple[str, str]]:
    found = office.json("explain", office.id(at))
    assert SECRET not in json.dumps(found)
    return {step["name"]: (step["state"], step["detail"]) for step in found["steps"]}


def test_a_write_that_is_refused(office: Any) -> None:
    office.send(office.event(1, "bad", full_name=SECRET))
    found = steps(office)
    assert [name for name, (state, _) in found.items() if state == "ok"] == [
        *("open", "decode", "origin", "filter", "rules", "map", "mask", "lookup")
    ]
    assert found["write"][0] == "FAILED"
    assert "23514" in found["write"][1]
    assert "PASS" in found["filter"][1]
    assert "full_name" in found["mask"][1]
    assert "1 of 1 found" in found["lookup"][1]
    assert office.dlq("explain", office.id())[0] == 1


def test_explain_writes_nothing_after_the_repair(office: Any) -> None:
    office.send(office.event(1, "bad", full_name=SECRET))
    office.admin.execute("ALTER TABLE profile DROP CONSTRAINT profile_note_check")
    code, out, err = office.dlq("explain", office.id())
    assert (code, err) == (0, "")
    assert "would change 1 rows; rolled back" in out
    assert "***MASKED***" in out
    assert office.rows() == {}
    assert office.dead_letters("status", "attempts") == [("OPEN", 0)]


@pytest.mark.parametrize(
    ("spoilt", "step"),
    [({"note": "z"}, "map"), ({"district": "Nowhere"}, "lookup"), ({"note": None}, "write")],
)
def test_each_fault_has_its_step(office: Any, spoilt: dict[str, Any], step: str) -> None:
    office.admin.execute("ALTER TABLE profile ALTER note SET NOT NULL")
    office.send(office.event(1, **({"full_name": SECRET} | spoilt)))
    found = steps(office)
    assert [name for name, (state, _) in found.items() if state == "FAILED"] == [step]


def test_a_filter_of_today_would_drop_it(office: Any) -> None:
    office.send(office.event(1, "z"))
    office.plugin.module.DROPPED.add("z")
    assert steps(office)["filter"][0] == "stopped"


def test_bytes_that_can_not_be_decoded(office: Any) -> None:
    office.send(office.event(1)._replace(value=b"\0\0\0\0\2" + b"\xff" * 9))
    assert steps(office)["decode"][0] == "FAILED"


def test_the_world_s_fault_is_told_as_such(office: Any) -> None:
    office.send(office.event(1, "bad"))
    office.admin.execute("REVOKE INSERT ON profile FROM sink_writer")
    state, told = steps(office)["write"]
    assert state == "FAILED"
    assert "wait or stop" in told
