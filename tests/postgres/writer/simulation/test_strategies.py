"""Whatever order, duplicates and replays a history comes in, it ends in the same rows."""

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
# One of each group, the last by its texts: what loses comes back when the winner goes.
BEST = """
SELECT DISTINCT ON (v) v, id, w, state, at FROM {candidates} c ORDER BY v, w DESC, id
"""
BEST_DDL = "v text PRIMARY KEY, id int, w text, state text, at timestamp"


class Op(NamedTuple):
    """A change of the source: of which row, to what, and how its time moved; `v` None deletes."""

    key: int
    v: str | None
    w: str | None
    later: int
    keep: bool
    """Column `v` did not change; for a mapping that merges."""


class Turn(NamedTuple):
    """A partition's part in a batch: how many events, or how far the offsets go back."""

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


def declared(name: str) -> TableMapping:
    plugin = discovery.installed()[name]
    discovery.load(plugin)
    assert plugin.mapping is not None
    return plugin.mapping


class Model:
    """A mapping's rules over a table of ours, and what one in-order pass comes to."""

    def __init__(self, written: Callable[..., Any], name: str) -> None:
        mapping = declared(name)
        version = mapping.conflict.version and "at"
        self.conflict = Conflict(mapping.conflict.strategy, version)
        self.on_delete: Action = (
            GONE if isinstance(mapping.on_delete, SetColumns) else mapping.on_delete
        )
        self.derived = mapping.derived is not None
        given_: dict[str, Any] = {"conflict": self.conflict, "on_delete": self.on_delete}
        given_ |= {"source": mapping.source, "target": mapping.target}
        if self.derived:
            given_["derived"] = Derived(key=("id",), group=("v",), select=BEST)
            given_["key"] = ("v",)
        schedules = mapping.schedules if not mapping.streaming else ()
        given_ |= {"streaming": mapping.streaming, "schedules": schedules}
        self.made = written(BEST_DDL if self.derived else DDL, *COLUMNS, **given_)

    @property
    def merges(self) -> bool:
        return self.conflict.strategy is Strategy.MERGE_CHANGED

    def reset(self) -> None:
        tables = [self.made.table.sql_name, "sink.row_version"]
        if self.derived:
            tables.append(f'sink."candidates_{self.made.name.replace("-", "_")}"')
        self.made.scratch.admin.execute(f"TRUNCATE {', '.join(tables)}".encode())
        self.made.writer.state.has_tombstones = False

    def changes(self, ops: Sequence[Op]) -> dict[int, list[Any]]:
        """What the events of each row come to, in the order of the log."""
        found: dict[int, list[Any]] = {key: [] for key in KEYS}
        for position, (op, at) in enumerate(zip(ops, times(ops), strict=True), start=1):
            if op.v is None:
                change = self.made.gone(op.key, action=self.on_delete, position=position)
                change = change._replace(subject=f"{self.made.name} {op.key}")
            else:
                keep = 0b10 if op.keep and self.merges else 0
                values = (op.key, op.v, op.w, "there", at)
                change = self.made.row(*values, keep=keep, position=position)
            found[op.key].append(change)
        return found

    def deliver(self, ops: Sequence[Op], batches: Sequence[Sequence[Turn]]) -> None:
        """The partitions' events in any order between them, some of them more than once."""
        changes, at = self.changes(ops), dict.fromkeys(KEYS, 0)
        for batch in [*batches, [Turn(key, len(ops), 0) for key in KEYS]]:
            if any(turn.back for turn in batch):
                self.made.writer.state.has_tombstones = True  # another life of the runner has asked
            told = []
            for turn in batch:
                start = max(0, at[turn.key] - turn.back)
                at[turn.key] = min(len(changes[turn.key]), start + turn.count)
                told += changes[turn.key][start : at[turn.key]]
            self.made.write(*told)

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
                brings = not op.keep or op.w is not None
                at = at if brings else old[4]
                return (op.key, old[1] if op.keep else op.v, op.w or old[2], "there", at)
        return new

    def rows(self) -> list[tuple[Any, ...]]:
        return sorted(self.made.rows("id, v, w, state, at"), key=str)


def times(ops: Sequence[Op]) -> list[datetime]:
    """The version of each change: mostly later than its row's last one, or the same."""
    at = dict.fromkeys(KEYS, NOW)
    found = []
    for op in ops:
        at[op.key] += timedelta(seconds=op.later)
        found.append(at[op.key])
    return found


def best(rows: Any) -> list[tuple[Any, ...]]:
    """What BEST selects; a NULL is first where the order is descending."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        groups.setdefault(row[1], []).append(row)
    first = {None: 2, "y": 1, "x": 0}
    return [min(group, key=lambda row: (-first[row[2]], row[0])) for group in groups.values()]


@pytest.mark.parametrize("plugin", [folder.name for folder in MAPPINGS])
def test_a_history_ends_in_the_same_rows(written: Callable[..., Any], plugin: str) -> None:
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
