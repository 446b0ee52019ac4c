"""Two writers of one version column: which of two rows is older, and what a tie comes to."""

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
        made = written(
            DDL,
            source="smart_citizen.public.t",
            target="smart_warehouse.public.t",
            conflict=newest_wins("at"),
            conflict_detection=ConflictDetection(tie=tie),
            needs_before_image=True,
        )
        made.scratch.admin.execute("TRUNCATE sink.conflict")
        return made

    return make


def event(made: Any, v: str, at: datetime, before: tuple[str, datetime], position: int) -> Any:
    base = made.row(1, before[0], None, before[1]).values
    return made.row(1, v, None, at, position=position)._replace(base=base)


def owner(made: Any, v: str, at: datetime) -> None:
    query = f"UPDATE {made.table.sql_name} SET v = %s, at = %s"
    made.scratch.admin.execute(query.encode(), (v, at))


def conflicts(made: Any) -> list[tuple[str, str]]:
    found = made.scratch.admin.execute(_CONFLICTS, ("t",)).fetchall()
    return [row[:2] for row in found]


@pytest.mark.parametrize("tie", Tie)
class TestAnyTie:
    def test_older_concurrent_change_loses(self, contested: Any, tie: Tie) -> None:
        made = contested(tie)
        made.write(made.row(1, "a", None, T0))
        owner(made, "theirs", T2)
        assert made.write(event(made, "ours", T1, ("a", T0), 2)) == 0
        assert conflicts(made) == [("timestamp_conflict", "target_wins")]
        assert made.rows("v") == [("theirs",)]

    def test_a_replay_of_what_was_written_is_none(self, contested: Any, tie: Tie) -> None:
        made = contested(tie)
        made.write(made.row(1, "a", None, T0))
        history = [event(made, "b", T1, ("a", T0), 2), event(made, "c", T2, ("b", T1), 3)]
        made.write(*history)
        made.write(*history)
        made.write(history[0])
        owner(made, "theirs", T2)
        made.write(*history)
        assert conflicts(made) == []

    def test_changes_in_sequence_are_no_conflict(self, contested: Any, tie: Tie) -> None:
        made = contested(tie)
        made.write(made.row(1, "a", None, T0))
        made.write(event(made, "b", T1, ("a", T0), 2))
        made.write(event(made, "c", T1, ("b", T1), 3))
        assert (conflicts(made), made.rows("v")) == ([], [("c",)])

    def test_a_newer_one_plainly_wins(self, contested: Any, tie: Tie) -> None:
        made = contested(tie)
        made.write(made.row(1, "a", None, T0))
        owner(made, "theirs", T1)
        made.write(event(made, "ours", T2, ("a", T0), 2))
        assert (conflicts(made), made.rows("v")) == ([], [("ours",)])


@pytest.mark.parametrize(
    ("tie", "stays", "action"),
    [
        (Tie.SOURCE, "ours", "source_wins"),
        (Tie.TARGET, "theirs", "target_wins"),
        (Tie.REVIEW, "theirs", "manual_review"),
    ],
)
def test_a_tie_goes_by_the_rule(contested: Any, tie: Tie, stays: str, action: str) -> None:
    made = contested(tie)
    made.write(made.row(1, "a", None, T0))
    owner(made, "theirs", T1)
    made.write(event(made, "ours", T1, ("a", T0), 2))
    assert made.rows("v") == [(stays,)]
    assert conflicts(made) == [("data_conflict", action)]


def test_one_that_waits_for_person_is_recorded_once(contested: Any) -> None:
    made = contested(Tie.REVIEW)
    made.write(made.row(1, "a", None, T0))
    owner(made, "theirs", T1)
    for position in (2, 3, 4):
        made.write(event(made, f"ours {position}", T1, ("a", T0), position))
    assert conflicts(made) == [("data_conflict", "manual_review")]


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ({"conflict": source_wins()}, "nothing to contest"),
        ({"needs_before_image": False}, "needs_before_image=True"),
        (
            {"derived": Derived(key=("id",), group=("id",), select="{candidates}")},
            "no other writer",
        ),
    ],
)
def test_what_cannot_be_contested_is_refused(declared: dict[str, Any], fault: str) -> None:
    mapping: dict[str, Any] = {
        "source": "a.b.c",
        "target": "d.e.f",
        "key": ("id",),
        "columns": (Column("id", type="int"), Column("at", type="timestamp")),
        "conflict": newest_wins("at"),
        "conflict_detection": ConflictDetection(),
        "needs_before_image": True,
    }
    assert any(fault in found for found in mapping_faults(TableMapping(**mapping | declared)))


@pytest.mark.parametrize("tie", [Tie.TARGET, Tie.REVIEW])
def test_lost_tie_stays_lost_when_repeated(contested: Any, tie: Tie) -> None:
    made = contested(tie)
    made.write(made.row(1, "a", None, T0))
    owner(made, "theirs", T1)
    for _ in range(2):
        made.write(event(made, "ours", T1, ("a", T0), 2))
        assert made.rows("v") == [("theirs",)]
    assert len(conflicts(made)) == 1


def test_equal_values_of_another_version_differ(contested: Any) -> None:
    """The owner has touched it, so the change that comes does not know of that."""
    made = contested(Tie.TARGET)
    made.write(made.row(1, "a", None, T0))
    owner(made, "a", T1)
    made.write(event(made, "ours", T1, ("a", T0), 2))
    assert made.rows("v") == [("a",)]


def test_late_review_is_recorded_all_the_same(contested: Any) -> None:
    """The source row is gone, whichever row has the key since."""
    made = contested(Tie.TARGET)
    made.write(made.row(1, "new", None, T1, position=9))
    review = made.gone(1, action=Review("deletion_conflict"), position=5)
    assert made.write(review._replace(subject="one that is late")) == 1
    assert made.writer.state.outcomes["stale"] == 0


def test_late_delete_leaves_the_newer_row(contested: Any) -> None:
    """It comes from another partition than the row that has the key by now."""
    made = contested(Tie.TARGET)
    made.write(made.row(1, "new", None, T1, position=9))
    assert made.write(made.gone(1, position=5)) == 0
    assert made.writer.state.outcomes["stale"] == 1
    assert made.rows("v") == [("new",)]
    assert made.write(made.gone(1, position=12)) == 1
