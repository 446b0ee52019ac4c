"""The routes under /v1/mappings, by `sink-runner api` on real databases."""

from typing import Any

import pytest

from ...support.console_process import MAPPINGS, console

pytestmark = pytest.mark.postgres
__all__ = ["console"]
NAME = "mappings/golden-records"


@pytest.fixture
def paused(console: Any) -> Any:
    """Pause a mapping for the test."""
    answer = console.post(f"{NAME}/pause", reason="index rebuild")
    assert answer.status_code == 200, answer.text
    yield answer.json()
    console.post(f"{NAME}/resume")


def test_every_mapping_is_reported(console: Any) -> None:
    found = console.get("mappings").json()
    assert {one["mapping"] for one in found} == {*MAPPINGS}
    assert {one["state"] for one in found} <= {"unknown", "scheduled"}


def test_one_mapping_has_source_target_and_way_out(console: Any) -> None:
    found = console.get(NAME).json()
    assert found["source"].endswith("golden_records")
    assert found["way_out"] == "start the runner: sink-runner run"
    assert found["open_dead_letters"] == 1


def test_pause_is_stored_in_name_of_caller(console: Any, paused: Any) -> None:
    assert paused["result"] == "paused"
    assert paused["command"] == "sink-runner pause golden-records --reason 'index rebuild'"
    assert "operate paused it" in console.get(NAME).json()["reason"]
    row = console.admin["citizen"].execute(
        "SELECT user_id, details->>'action' FROM sink.audit_log ORDER BY audit_id DESC LIMIT 1"
    )
    assert row.fetchone() == ("operate", "paused")


def test_resume_ends_the_pause(console: Any, paused: Any) -> None:
    assert console.post(f"{NAME}/resume").json()["result"] == "resumed"
    assert "paused" not in console.get(NAME).json()["reason"]


@pytest.mark.parametrize(("action", "body"), [("pause", {"reason": "why"}), ("resume", {})])
def test_dry_run_answers_plan_and_changes_nothing(
    console: Any, action: str, body: dict[str, str]
) -> None:
    answer = console.post(f"{NAME}/{action}", dry_run=True, **body).json()
    assert answer["result"] is None
    assert answer["plan"][-1].startswith("reversible: ")
    assert answer["command"].startswith(f"sink-runner {action} golden-records")
    assert "paused" not in console.get(NAME).json()["reason"]


def test_reading_needs_observe_and_acting_operate(console: Any) -> None:
    assert console.get("mappings", key="none").status_code == 403
    assert console.get(NAME, key="none").status_code == 403
    for action, body in (("pause", {"reason": "why"}), ("resume", {})):
        answer = console.post(f"{NAME}/{action}", key="observe", **body)
        assert answer.status_code == 403
    assert "paused" not in console.get(NAME).json()["reason"]


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x" * 501}, {"because": "x"}])
def test_pause_needs_reason(console: Any, body: dict[str, str]) -> None:
    assert console.post(f"{NAME}/pause", **body).status_code == 422


def test_unknown_mapping_is_not_found(console: Any) -> None:
    assert console.get("mappings/cherries").status_code == 404
    assert console.post("mappings/cherries/resume").status_code == 404


def test_replay_without_kafka_is_unavailable(console: Any) -> None:
    answer = console.post(f"{NAME}/replay", **{"from": "offset:0:1"}, dry_run=True)
    assert answer.status_code == 503
    assert console.post(f"{NAME}/replay", **{"from": "yesterday"}).status_code == 422
    assert (
        console.post(f"{NAME}/replay", key="observe", **{"from": "2026-01-01"}).status_code == 403
    )


def test_resync_of_paused_mapping_is_refused(console: Any, paused: Any) -> None:
    answer = console.post(f"{NAME}/resync", dry_run=True)
    assert answer.status_code == 409
    assert "is paused" in answer.json()["detail"]
    assert console.post(f"{NAME}/resync", key="observe").status_code == 403
