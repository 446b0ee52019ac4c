"""A row that was deleted does not come back: not by an older event, not by a replay, not by a read.

A batch's rows are written as events are, with the place in the log where their read began; that
they are is tested with real batches (`batch/test_departing`, `batch/test_convergence`).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sink_runner.plugin import (
    Column,
    Conflict,
    Derived,
    insert_once,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW

pytestmark = pytest.mark.postgres
LATER = NOW + timedelta(minutes=1)
COLUMNS = (
    Column("id", type="integer"),
    Column("v", type="text"),
    Column("at", type="timestamp"),
)
RULES: dict[str, tuple[Conflict, bool]] = {
    "newest wins": (newest_wins("at"), False),
    "source wins": (source_wins(), False),
    "insert once": (insert_once(), False),
    "merge changed": (merge_changed("at"), False),
    "newest of candidates": (newest_wins("at"), True),
    "latest of candidates": (source_wins(), True),
}


@pytest.fixture(params=RULES)
def made(request: pytest.FixtureRequest, written: Callable[..., Any]) -> Any:
    """A row that came at 5 and went at 7."""
    conflict, derived = RULES[request.param]
    select = "SELECT id, v, at FROM {candidates} c"
    candidates = Derived(key=("id",), group=("id",), select=select) if derived else None
    table = written(
        "id int PRIMARY KEY, v text, at timestamp",
        *(COLUMNS if derived else [Column(column.name) for column in COLUMNS]),
        conflict=conflict,
        derived=candidates,
    )
    table.write(table.row(1, "was", NOW, position=5))
    table.write(table.gone(1, position=7))
    assert table.rows() == []
    return table


@pytest.mark.parametrize("keep", [0, 0b10], ids=["whole", "changed"])
@pytest.mark.parametrize("position", [5, 6, 7])
def test_older_position_never_restores_deleted_row(made: Any, position: int, keep: int) -> None:
    assert made.write(made.row(1, "back", LATER, position=position, keep=keep)) == 0
    assert made.rows() == []


def test_not_by_replay_that_ends_before_deletion(made: Any) -> None:
    """Another life of the runner, that has asked whether there is anything to heed."""
    made.connection = made.scratch.session()
    made.writer = made.another(made.connection)
    made.writer.state.has_tombstones = True
    made.write(made.row(1, "was", NOW, position=5), made.row(1, "then", LATER, position=6))
    assert made.rows() == []


def test_not_by_an_event_of_the_same_batch(made: Any) -> None:
    made.write(made.gone(1, position=9), made.row(1, "back", LATER, position=8))
    assert made.rows() == []


def test_a_newer_event_brings_it_back(made: Any) -> None:
    assert made.write(made.row(1, "again", NOW, position=8)) == 1
    assert made.rows("id, v") == [(1, "again")]
