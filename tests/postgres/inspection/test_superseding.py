"""``sink-runner dlq`` with dead letters superseded by a newer event of their row."""

from typing import Any

import pytest

from sink_runner.errors import QualityError
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.writer.budget import Budget

pytestmark = pytest.mark.postgres


@pytest.fixture
def superseded(superseding: Any) -> Any:
    superseding.send(superseding.event(1, "bad"), superseding.event(2, "bad"))
    superseding.send(superseding.event(1, "b"))
    assert superseding.dead_letters("status") == ["SUPERSEDED", "OPEN"]
    return superseding


def test_list_shows_superseded_by_status(superseded: Any) -> None:
    assert [one["status"] for one in superseded.json("list")] == ["OPEN"]
    found = superseded.json("list", "--status", "SUPERSEDED")
    assert [one["id"] for one in found] == [superseded.id()]
    assert superseded.json("show", superseded.id())["status"] == "SUPERSEDED"


def test_summary_counts_superseded_separately(superseded: Any) -> None:
    found = superseded.json("list", "--summary", "--status", "ALL")
    assert {one["status"]: one["dead_letters"] for one in found} == {"OPEN": 1, "SUPERSEDED": 1}


def test_explain_stops_at_status_of_superseded(superseded: Any) -> None:
    found = superseded.json("explain", superseded.id())
    (step,) = found["steps"]
    assert (step["name"], step["state"]) == ("status", "stopped")
    assert "superseded" in step["detail"]


@pytest.mark.parametrize("action", [("replay",), ("discard", "--reason", "test")])
def test_superseded_cannot_be_replayed_or_discarded(
    superseded: Any, action: tuple[str, ...]
) -> None:
    name, *options = action
    code, _, _ = superseded.dlq(name, superseded.id(), *options)
    assert code == 1
    superseded.retry()
    assert superseded.dead_letters("status") == ["SUPERSEDED", "OPEN"]
    assert superseded.written_notes(1) == ["b"]


def test_budget_does_not_count_superseded(superseded: Any) -> None:
    message = superseded.event(3, "bad")
    dead_letter = DeadLetter(message, QualityError("maximum", "note"))
    budget = Budget("people", 1, 0.0)
    budget.check(superseded.admin, [dead_letter._replace(superseded=True)], 100)
    assert budget.open(superseded.admin) == 1
