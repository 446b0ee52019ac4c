"""Conflict detection with newest_wins: older and equal versions of two writers."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sink_runner.loading.mapping_checks import mapping_faults
from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Derived,
    Review,
    TableMapping,
    Tie,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW

pytestmark = pytest.mark.postgres
DDL = "id int PRIMARY KEY, v text, note text, at timestamp"
T0, T1, T2 = (NOW + timedelta(minutes=minute) for minute in range(3))
_CONFLICTS = """
SELECT conflict_type, resolution_action, record_id FROM sink.conflict
WHERE table_name = %s ORDER BY conflict_id
"""


@pytest.fixture
def contested(written: Callable[..., Any]) -> Callable[[Tie], Any]:
    def make(tie: Tie) -> Any:
        target = written(
            DDL,
            source="smart_citizen.public.t",
            target="smart_warehouse.public.t",
            conflict=newest_wins("at"),
            conflict_detection=ConflictDetection(tie=tie),
            needs_before_image=True,
        )
        target.scratch.admin.execute("TRUNCATE sink.conflict")
        return target

    return make


def event(target: Any, v: str, at: datetime, before: tuple[str, datetime], position: int) -> Any:
    base = target.row(1, before[0], None, before[1]).values
    return target.row(1, v, None, at, position=position)._replace(base=base)


def change_target(target: Any, v: str, at: datetime) -> None:
    query = f"UPDATE {target.table.sql_name} SET v = %s, at = %s"
    target.scratch.admin.execute(query.encode(), (v, at))


def conflicts(target: Any) -> list[tuple[str, str]]:
    found = target.scratch.admin.execute(_CONFLICTS, ("t",)).fetchall()
    return [row[:2] for row in found]


@pytest.mark.parametrize("tie", Tie)
class TestAnyTie:
    def test_older_concurrent_change_loses(self, contested: Any, tie: Tie) -> None:
        target = contested(tie)
        target.write(target.row(1, "a", None, T0))
        change_target(target, "theirs", T2)
        assert target.write(event(target, "ours", T1, ("a", T0), 2)) == 0
        assert conflicts(target) == [("timestamp_conflict", "target_wins")]
        assert target.rows("v") == [("theirs",)]

    def test_replay_of_own_writes_is_not_conflict(self, contested: Any, tie: Tie) -> None:
        target = contested(tie)
        target.write(target.row(1, "a", None, T0))
        history = [event(target, "b", T1, ("a", T0), 2), event(target, "c", T2, ("b", T1), 3)]
        target.write(*history)
        target.write(*history)
        target.write(history[0])
        change_target(target, "theirs", T2)
        target.write(*history)
        assert conflicts(target) == []

    def test_changes_in_sequence_are_not_conflicts(self, contested: Any, tie: Tie) -> None:
        target = contested(tie)
        target.write(target.row(1, "a", None, T0))
        target.write(event(target, "b", T1, ("a", T0), 2))
        target.write(event(target, "c", T1, ("b", T1), 3))
        assert (conflicts(target), target.rows("v")) == ([], [("c",)])

    def test_newer_change_wins_without_conflict(self, contested: Any, tie: Tie) -> None:
        target = contested(tie)
        target.write(target.row(1, "a", None, T0))
        change_target(target, "theirs", T1)
        target.write(event(target, "ours", T2, ("a", T0), 2))
        assert (conflicts(target), target.rows("v")) == ([], [("ours",)])


@pytest.mark.parametrize(
    ("tie", "winner", "action"),
    [
        (Tie.SOURCE, "ours", "source_wins"),
        (Tie.TARGET, "theirs", "target_wins"),
        (Tie.REVIEW, "theirs", "manual_review"),
    ],
)
def test_tie_is_resolved_as_declared(contested: Any, tie: Tie, winner: str, action: str) -> None:
    target = contested(tie)
    target.write(target.row(1, "a", None, T0))
    change_target(target, "theirs", T1)
    target.write(event(target, "ours", T1, ("a", T0), 2))
    assert target.rows("v") == [(winner,)]
    assert conflicts(target) == [("data_conflict", action)]


def test_open_conflict_is_recorded_once(contested: Any) -> None:
    target = contested(Tie.REVIEW)
    target.write(target.row(1, "a", None, T0))
    change_target(target, "theirs", T1)
    for position in (2, 3, 4):
        target.write(event(target, f"ours {position}", T1, ("a", T0), position))
    assert conflicts(target) == [("data_conflict", "manual_review")]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"conflict": source_wins()}, "nothing to contest"),
        ({"needs_before_image": False}, "needs_before_image=True"),
        (
            {"derived": Derived(key=("id",), group=("id",), select="{candidates}")},
            "no other writer",
        ),
    ],
)
def test_invalid_conflict_detection_is_refused(declared: dict[str, Any], message: str) -> None:
    mapping: dict[str, Any] = {
        "source": "a.b.c",
        "target": "d.e.f",
        "key": ("id",),
        "columns": (Column("id", type="int"), Column("at", type="timestamp")),
        "conflict": newest_wins("at"),
        "conflict_detection": ConflictDetection(),
        "needs_before_image": True,
    }
    assert any(message in found for found in mapping_faults(TableMapping(**mapping | declared)))


@pytest.mark.parametrize("tie", [Tie.TARGET, Tie.REVIEW])
def test_lost_tie_stays_lost_when_repeated(contested: Any, tie: Tie) -> None:
    target = contested(tie)
    target.write(target.row(1, "a", None, T0))
    change_target(target, "theirs", T1)
    for _ in range(2):
        target.write(event(target, "ours", T1, ("a", T0), 2))
        assert target.rows("v") == [("theirs",)]
    assert len(conflicts(target)) == 1


def test_equal_values_of_another_version_differ(contested: Any) -> None:
    """The other writer has updated the row since the incoming change was target."""
    target = contested(Tie.TARGET)
    target.write(target.row(1, "a", None, T0))
    change_target(target, "a", T1)
    target.write(event(target, "ours", T1, ("a", T0), 2))
    assert target.rows("v") == [("a",)]


def test_late_review_is_recorded(contested: Any) -> None:
    """The source row was deleted, although another row has its key now."""
    target = contested(Tie.TARGET)
    target.write(target.row(1, "new", None, T1, position=9))
    review = target.gone(1, action=Review("deletion_conflict"), position=5)
    assert target.write(review._replace(subject="late")) == 1
    assert target.writer.state.outcomes["stale"] == 0


def test_late_delete_keeps_newer_row(contested: Any) -> None:
    """It comes from another partition than the row that has the key now."""
    target = contested(Tie.TARGET)
    target.write(target.row(1, "new", None, T1, position=9))
    assert target.write(target.gone(1, position=5)) == 0
    assert target.writer.state.outcomes["stale"] == 1
    assert target.rows("v") == [("new",)]
    assert target.write(target.gone(1, position=12)) == 1
