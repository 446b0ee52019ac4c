"""A deleted row is not restored by an older event or a replay.

Rows of a batch have a position, too; `batch/test_deletions` and `batch/test_convergence` test them.
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
def target(request: pytest.FixtureRequest, written: Callable[..., Any]) -> Any:
    """A table whose row was created at position 5 and deleted at position 7."""
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
def test_older_position_never_restores_deleted_row(target: Any, position: int, keep: int) -> None:
    assert target.write(target.row(1, "back", LATER, position=position, keep=keep)) == 0
    assert target.rows() == []


def test_replay_before_deletion_does_not_restore_row(target: Any) -> None:
    """A restarted runner has loaded whether the mapping has tombstones."""
    target.connection = target.scratch.session()
    target.writer = target.another(target.connection)
    target.writer.state.has_tombstones = True
    target.write(target.row(1, "was", NOW, position=5), target.row(1, "then", LATER, position=6))
    assert target.rows() == []


def test_older_event_of_same_batch_does_not_restore(target: Any) -> None:
    target.write(target.gone(1, position=9), target.row(1, "back", LATER, position=8))
    assert target.rows() == []


def test_newer_event_restores_row(target: Any) -> None:
    assert target.write(target.row(1, "again", NOW, position=8)) == 1
    assert target.rows("id, v") == [(1, "again")]
