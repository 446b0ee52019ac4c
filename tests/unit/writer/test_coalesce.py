"""Changes of one key are merged, and waves of merged changes equal single changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.model.changes import Change, Removal, Write, split_waves
from sink_runner.plugin import Column, Conflict, Delete, Ignore, Review, SetColumns, Strategy
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.writer.coalesce import fold_of

KEEP_SECOND = 1 << 2
VERSION, FIRST, SECOND = 1, 2, 3


def columns(*, insert_only: bool = False) -> list[TargetColumn]:
    """Return the integer columns id, version, a and b."""
    declared = [Column(name) for name in ("id", "version", "a")]
    declared.append(Column("b", insert_only=insert_only))
    return [TargetColumn(column, "integer", "int4") for column in declared]


class Table:
    """A target in memory that applies one change at a time, as the writer's SQL does."""

    def __init__(self, strategy: Strategy, *, insert_only: bool) -> None:
        self.strategy = strategy
        self.insert_only = insert_only
        self.rows: dict[Any, list[Any]] = {}

    def apply(self, change: Change) -> None:
        row = self.rows.get(change.key)
        if isinstance(change, Removal):
            self._remove(change, row)
        elif row is None:
            assert not change.partial
            self.rows[change.key] = list(change.values)
        elif self.strategy is not Strategy.INSERT_ONCE and self._is_newer(change, row):
            for at in (VERSION, FIRST, SECOND):
                self._set(change, row, at)

    def _remove(self, change: Removal, row: list[Any] | None) -> None:
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
    st.sampled_from([0, 0, 0, KEEP_SECOND]),
)
REMOVALS = st.builds(
    lambda key, action: Removal((key,), action, (0, 0), None),
    KEYS,
    st.sampled_from([Delete(), Delete(), SetColumns({"b": 77}), Ignore(), Review()]),
)


@pytest.mark.parametrize("insert_only", [False, True])
@pytest.mark.parametrize("strategy", Strategy)
@given(changes=st.lists(WRITES | WRITES | REMOVALS, max_size=12))
def test_waves_equal_single_changes(
    changes: list[Change], strategy: Strategy, *, insert_only: bool
) -> None:
    folded, plain = (Table(strategy, insert_only=insert_only) for _ in range(2))
    fold = fold_of(Conflict(strategy, "version"), columns(insert_only=insert_only))
    for change in changes:
        plain.apply(change)
    for wave in split_waves(changes, fold):
        for change in [*wave.removals.values(), *wave.writes.values()]:
            folded.apply(change)
    assert folded.rows == plain.rows


@given(changes=st.lists(WRITES | WRITES | REMOVALS, max_size=12))
def test_key_occurs_once_in_wave(changes: list[Change]) -> None:
    for wave in split_waves(changes, None):
        assert not wave.writes.keys() & wave.removals.keys()


def write(version: int, *, keep: int = 0, partial: bool = False) -> Write:
    return Write((1,), (1, version, 0, 0), keep, partial, (0, 0), None)


@pytest.mark.parametrize("incomplete", [{"keep": 1}, {"partial": True}])
def test_incomplete_rows_are_never_merged(incomplete: dict[str, Any]) -> None:
    fold = fold_of(Conflict(Strategy.SOURCE_WINS), columns())
    for pair in ([write(1), write(2, **incomplete)], [write(1, **incomplete), write(2)]):
        assert len(split_waves(pair, fold)) == 2


@pytest.mark.parametrize("strategy", [Strategy.SOURCE_WINS, Strategy.NEWEST_WINS])
def test_complete_rows_are_merged(strategy: Strategy) -> None:
    fold = fold_of(Conflict(strategy, "version"), columns())
    (wave,) = split_waves([write(1), write(2), write(2, keep=0)], fold)
    assert [row.values[VERSION] for row in wave.writes.values()] == [2]


def test_deletion_replaces_earlier_changes_of_wave() -> None:
    (wave,) = split_waves([write(1), Removal((1,), Delete(), (7, 0), None)], None)
    assert (wave.writes, list(wave.removals)) == ({}, [(1,)])


def test_row_after_its_deletion_is_in_next_wave() -> None:
    first, second = split_waves([Removal((1,), Delete(), (7, 0), None), write(2)], None)
    assert (list(first.removals), list(second.writes)) == ([(1,)], [(1,)])


def test_other_keys_stay_in_first_wave() -> None:
    other = write(1)._replace(key=(2,))
    first, second = split_waves([write(1, keep=1), write(2, keep=1), other], None)
    assert list(first.writes) == [(1,), (2,)]
    assert list(second.writes) == [(1,)]


def version_columns(type_: str) -> list[TargetColumn]:
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
def test_versions_are_compared_as_by_postgresql(type_: str, older: str | None, newer: str) -> None:
    fold = fold_of(Conflict(Strategy.NEWEST_WINS, "at"), version_columns(type_))
    assert fold is not None
    assert fold((older,), (newer,))
    assert not fold((newer,), (older,))


@pytest.mark.parametrize("type_", ["numeric", "text", "uuid"])
def test_database_compares_versions_of_other_types(type_: str) -> None:
    assert fold_of(Conflict(Strategy.NEWEST_WINS, "at"), version_columns(type_)) is None
