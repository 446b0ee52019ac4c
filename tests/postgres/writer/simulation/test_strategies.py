"""A history converges to the same rows in any order, with duplicates and replays."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.loading import discovery
from sink_runner.plugin import (
    Action,
    Column,
    Conflict,
    Constant,
    Delete,
    Derived,
    SetColumns,
    Strategy,
    TableMapping,
)
from sink_runner.testing import NOW

from ....support.plugin_folders import MAPPINGS

pytestmark = pytest.mark.postgres
KEYS = (1, 2, 3)
DDL = "id int PRIMARY KEY, v text, w text, state text, at timestamp"
COLUMNS = (
    Column("id", type="integer"),
    Column("v", type="text"),
    Column("w", type="text"),
    Column("state", Constant("there"), type="text"),
    Column("at", type="timestamp"),
)
GONE = SetColumns({"state": "gone"})
# One row of each group; if it is deleted, the next one of the group is derived.
BEST = """
SELECT DISTINCT ON (v) v, id, w, state, at FROM {candidates} c ORDER BY v, w DESC, id
"""
BEST_DDL = "v text PRIMARY KEY, id int, w text, state text, at timestamp"


class Op(NamedTuple):
    """A change of a source row: its new values, and the step of its version; `v` None deletes."""

    key: int
    v: str | None
    w: str | None
    later: int
    keep: bool
    """Whether column `v` did not change; only for a mapping that merges."""


class Turn(NamedTuple):
    """A partition's events in a batch, after its offset was set back by `back`."""

    key: int
    count: int
    back: int


OPS = st.lists(
    st.builds(
        Op,
        st.sampled_from(KEYS),
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from(["x", "y", None]),
        st.sampled_from([0, 0, 1, 1, 2, -1]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
BATCHES = st.lists(
    st.lists(
        st.builds(Turn, st.sampled_from(KEYS), st.integers(1, 4), st.sampled_from([0, 0, 0, 1, 3])),
        min_size=1,
        max_size=3,
    ),
    max_size=6,
)


def load_mapping(name: str) -> TableMapping:
    plugin = discovery.installed()[name]
    discovery.load(plugin)
    assert plugin.mapping is not None
    return plugin.mapping


class Model:
    """A plugin's strategy and actions on a test table, and the rows that they must give."""

    def __init__(self, written: Callable[..., Any], name: str) -> None:
        mapping = load_mapping(name)
        version = mapping.conflict.version and "at"
        self.conflict = Conflict(mapping.conflict.strategy, version)
        self.on_delete: Action = (
            GONE if isinstance(mapping.on_delete, SetColumns) else mapping.on_delete
        )
        self.derived = mapping.derived is not None
        options: dict[str, Any] = {"conflict": self.conflict, "on_delete": self.on_delete}
        options |= {"source": mapping.source, "target": mapping.target}
        if self.derived:
            options["derived"] = Derived(key=("id",), group=("v",), select=BEST)
            options["key"] = ("v",)
        schedules = mapping.schedules if not mapping.streaming else ()
        options |= {"streaming": mapping.streaming, "schedules": schedules}
        self.target = written(BEST_DDL if self.derived else DDL, *COLUMNS, **options)

    @property
    def merges(self) -> bool:
        return self.conflict.strategy is Strategy.MERGE_CHANGED

    def reset(self) -> None:
        tables = [self.target.table.sql_name, "sink.row_version"]
        if self.derived:
            tables.append(f'sink."candidates_{self.target.name.replace("-", "_")}"')
        self.target.scratch.admin.execute(f"TRUNCATE {', '.join(tables)}".encode())
        self.target.writer.state.has_tombstones = False

    def changes(self, ops: Sequence[Op]) -> dict[int, list[Any]]:
        """Return the changes of each row in the order of the log."""
        found: dict[int, list[Any]] = {key: [] for key in KEYS}
        for position, (op, at) in enumerate(zip(ops, times(ops), strict=True), start=1):
            if op.v is None:
                change = self.target.gone(op.key, action=self.on_delete, position=position)
                change = change._replace(subject=f"{self.target.name} {op.key}")
            else:
                keep = 0b10 if op.keep and self.merges else 0
                values = (op.key, op.v, op.w, "there", at)
                change = self.target.row(*values, keep=keep, position=position)
            found[op.key].append(change)
        return found

    def deliver(self, ops: Sequence[Op], batches: Sequence[Sequence[Turn]]) -> None:
        """Deliver the batches, then the rest of each partition."""
        changes, at = self.changes(ops), dict.fromkeys(KEYS, 0)
        for batch in [*batches, [Turn(key, len(ops), 0) for key in KEYS]]:
            if any(turn.back for turn in batch):
                self.target.writer.state.has_tombstones = True  # as after a restart
            delivered = []
            for turn in batch:
                start = max(0, at[turn.key] - turn.back)
                at[turn.key] = min(len(changes[turn.key]), start + turn.count)
                delivered += changes[turn.key][start : at[turn.key]]
            self.target.write(*delivered)

    def expected(self, ops: Sequence[Op]) -> list[tuple[Any, ...]]:
        rows: dict[int, tuple[Any, ...]] = {}
        for op, at in zip(ops, times(ops), strict=True):
            old = rows.get(op.key)
            if op.v is not None:
                rows[op.key] = self._written(old, op, at)
            elif old is not None and isinstance(self.on_delete, Delete):
                del rows[op.key]
            elif old is not None and isinstance(self.on_delete, SetColumns):
                rows[op.key] = (*old[:3], "gone", old[4])
        found = best(rows.values()) if self.derived else rows.values()
        return sorted(found, key=str)

    def _written(self, old: tuple[Any, ...] | None, op: Op, at: datetime) -> tuple[Any, ...]:
        new = (op.key, op.v, op.w, "there", at)
        if old is None:
            return new
        match self.conflict.strategy:
            case Strategy.INSERT_ONCE:
                return old
            case Strategy.NEWEST_WINS:
                return new if at >= old[4] else old
            case Strategy.MERGE_CHANGED if at < old[4]:
                return old
            case Strategy.MERGE_CHANGED:
                has_value = not op.keep or op.w is not None
                at = at if has_value else old[4]
                return (op.key, old[1] if op.keep else op.v, op.w or old[2], "there", at)
        return new

    def rows(self) -> list[tuple[Any, ...]]:
        return sorted(self.target.rows("id, v, w, state, at"), key=str)


def times(ops: Sequence[Op]) -> list[datetime]:
    """Return the version of each change: mostly later than its row's last one, or equal."""
    at = dict.fromkeys(KEYS, NOW)
    found = []
    for op in ops:
        at[op.key] += timedelta(seconds=op.later)
        found.append(at[op.key])
    return found


def best(rows: Any) -> list[tuple[Any, ...]]:
    """Return what BEST selects; in descending order, NULL is first."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        groups.setdefault(row[1], []).append(row)
    first = {None: 2, "y": 1, "x": 0}
    return [min(group, key=lambda row: (-first[row[2]], row[0])) for group in groups.values()]


@pytest.mark.parametrize("plugin", [folder.name for folder in MAPPINGS])
def test_strategy_of_mapping_converges(written: Callable[..., Any], plugin: str) -> None:
    model = Model(written, plugin)

    @settings(
        max_examples=12,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(ops=OPS, batches=BATCHES)
    def converges(ops: list[Op], batches: list[list[Turn]]) -> None:
        model.reset()
        model.deliver(ops, batches)
        assert model.rows() == model.expected(ops)

    converges()
