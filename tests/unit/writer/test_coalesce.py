"""What a batch comes to when changes of one key become one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.model.changes import Change, Removal, Write, split_waves
from sink_runner.plugin import Column, Conflict, Delete, Ignore, Review, SetColumns, Strategy
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.writer.coalesce import fold_of

KEEPS_SECOND = 1 << 2
VERSION, FIRST, SECOND = 1, 2, 3


def columns(*, insert_only: bool = False) -> list[TargetColumn]:
    """Columns id, version, a and b of whole numbers."""
    made = [Column(name) for name in ("id", "version", "a")]
    made.append(Column("b", insert_only=insert_only))
    return [TargetColumn(column, "integer", "int4") for column in made]


class Table:
    """A target in memory: what the writer's SQL does, one change at a time."""

    def __init__(self, strategy: Strategy, *, insert_only: bool) -> None:
        self.strategy = strategy
        self.insert_only = insert_only
        self.rows: dict[Any, list[Any]] = {}

    def apply(self, change: Change) -> None:
        row = self.rows.get(change.key)
        if isinstance(change, Removal):
            self._leave(change, row)
        elif row is None:
            assert not change.partial
            self.rows[change.key] = list(change.values)
        elif self.strategy is not Strategy.INSERT_ONCE and self._is_newer(change, row):
            for at in (VERSION, FIRST, SECOND):
                self._set(change, row, at)

    def _leave(self, change: Removal, row: list[Any] | None) -> None:
        match change.action:
            case Delete():
                self.rows.pop(change.key, None)
            case SetColumns(values) if row is not None:
                row[SECOND] = values["b"]

    def _is_newer(self, change: Write, row: list[Any]) -> bool:
        if self.strategy is Strategy.SOURCE_WINS or row[VERSION] is None:
            return True
        new = change.values[VERSION]
        return new is not None and new >= row[VERSION]

    def _set(self, change: Write, row: list[Any], at: int) -> None:
        value = change.values[at]
        merges = self.strategy is Strategy.MERGE_CHANGED
        if change.keep >> at & 1 or (merges and value is None and at != VERSION):
            return
        if not (self.insert_only and at == SECOND):
            row[at] = value


KEYS = st.integers(1, 3)
WRITES = st.builds(
    lambda key, version, a, b, keep: Write(
        (key,), (key, version, a, b), keep, partial=False, position=(0, 0), source=None
    ),
    KEYS,
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.sampled_from([0, 0, 0, KEEPS_SECOND]),
)
LEAVES = st.builds(
    lambda key, action: Removal((key,), action, (0, 0), None),
    KEYS,
    st.sampled_from([Delete(), Delete(), SetColumns({"b": 77}), Ignore(), Review()]),
)


@pytest.mark.parametrize("insert_only", [False, True])
@pytest.mark.parametrize("strategy", Strategy)
@given(changes=st.lists(WRITES | WRITES | LEAVES, max_size=12))
def test_waves_equal_single_changes(
    changes: list[Change], strategy: Strategy, *, insert_only: bool
) -> None:
    folded, plain = (Table(strategy, insert_only=insert_only) for _ in range(2))
    fold = fold_of(Conflict(strategy, "version"), columns(insert_only=insert_only))
    for change in changes:
        plain.apply(change)
    for part in split_waves(changes, fold):
        for change in [*part.removals.values(), *part.writes.values()]:
            folded.apply(change)
    assert folded.rows == plain.rows


@given(changes=st.lists(WRITES | WRITES | LEAVES, max_size=12))
def test_a_key_occurs_once_a_round(changes: list[Change]) -> None:
    for part in split_waves(changes, None):
        assert not part.writes.keys() & part.removals.keys()


def write(version: int, *, keep: int = 0, partial: bool = False) -> Write:
    return Write((1,), (1, version, 0, 0), keep, partial, (0, 0), None)


@pytest.mark.parametrize("odd", [{"keep": 1}, {"partial": True}])
def test_rows_that_are_not_whole_never_become_one(odd: dict[str, Any]) -> None:
    fold = fold_of(Conflict(Strategy.SOURCE_WINS), columns())
    for pair in ([write(1), write(2, **odd)], [write(1, **odd), write(2)]):
        assert len(split_waves(pair, fold)) == 2


@pytest.mark.parametrize("strategy", [Strategy.SOURCE_WINS, Strategy.NEWEST_WINS])
def test_whole_rows_do(strategy: Strategy) -> None:
    fold = fold_of(Conflict(strategy, "version"), columns())
    (only,) = split_waves([write(1), write(2), write(2, keep=0)], fold)
    assert [row.values[VERSION] for row in only.writes.values()] == [2]


def test_deletion_replaces_earlier_changes_of_wave() -> None:
    (only,) = split_waves([write(1), Removal((1,), Delete(), (7, 0), None)], None)
    assert (only.writes, list(only.removals)) == ({}, [(1,)])


def test_row_after_its_deletion_waits_for_next_round() -> None:
    first, second = split_waves([Removal((1,), Delete(), (7, 0), None), write(2)], None)
    assert (list(first.removals), list(second.writes)) == ([(1,)], [(1,)])


def test_other_keys_go_on_in_the_first_round() -> None:
    other = write(1)._replace(key=(2,))
    first, second = split_waves([write(1, keep=1), write(2, keep=1), other], None)
    assert list(first.writes) == [(1,), (2,)]
    assert list(second.writes) == [(1,)]


def moments(type_: str) -> list[TargetColumn]:
    return [TargetColumn(Column("at"), type_, "text")]


@pytest.mark.parametrize(
    ("type_", "older", "newer"),
    [
        ("timestamp without time zone", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.1Z"),
        ("timestamp without time zone", "-infinity", "2024-01-01T00:00:00Z"),
        ("timestamp without time zone", "2024-01-01T00:00:00Z", "infinity"),
        ("timestamp with time zone", "2024-01-01T02:00:00+05:30", "2024-01-01T00:00:00Z"),
        ("timestamp with time zone", None, "-infinity"),
        ("timestamp with time zone", "0044-03-15T00:00:00Z BC", "2024-01-01T00:00:00Z"),
        ("date", "2024-01-01Z", "2024-01-02Z"),
    ],
)
def test_versions_compare_as_the_database_compares_them(
    type_: str, older: str | None, newer: str
) -> None:
    fold = fold_of(Conflict(Strategy.NEWEST_WINS, "at"), moments(type_))
    assert fold is not None
    assert fold((older,), (newer,))
    assert not fold((newer,), (older,))


@pytest.mark.parametrize("type_", ["numeric", "text", "uuid"])
def test_database_compares_versions_of_other_types(type_: str) -> None:
    assert fold_of(Conflict(Strategy.NEWEST_WINS, "at"), moments(type_)) is None
