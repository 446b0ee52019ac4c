"""A target key that moves between source rows converges to its row in the source.

The source has a primary key `id` and a unique `code`, which is the key of the target. Its events
are partitioned by `id`. The partitions are delivered in any relative order, some events more than
once, with batch runs and incremental snapshots in between.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sink_runner.model.changes import BATCH_ORDINAL, READ, Change
from sink_runner.plugin import (
    Column,
    Conflict,
    ConflictDetection,
    Derived,
    SetColumns,
    Strategy,
    Tie,
    insert_once,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.testing import NOW
from sink_runner.transform.key_identity import KeyIdentity
from sink_runner.writer.candidates import candidate_table

from .orders import interleavings

pytestmark = pytest.mark.postgres

IDS = (1, 2, 3, 4)
CODES = ("a", "b", "c")
DDL = "code text PRIMARY KEY, id int, v int, at timestamp"
COLUMNS = tuple(Column(name) for name in ("code", "id", "v", "at"))


class Row(NamedTuple):
    code: str
    id: int
    v: int
    at: datetime


class Op(NamedTuple):
    """A transaction: its kind, the two rows it concerns, and a new key for one of them."""

    kind: str
    one: int
    other: int
    code: str


class Turn(NamedTuple):
    """A step of the delivery: events of a partition, or all rows of a batch run."""

    partition: int
    count: int
    back: int
    batch: float | None


KINDS = ["insert", "change", "recode", "swap", "swap", "delete"]
KINDS += ["rename", "pass", "pass", "exchange", "read"]
OPS = st.lists(
    st.builds(
        Op,
        st.sampled_from(KINDS),
        st.sampled_from(IDS),
        st.sampled_from(IDS),
        st.sampled_from(CODES),
    ),
    min_size=3,
    max_size=14,
)
FULL = [Op("insert", id_, id_, code) for id_, code in zip(IDS, CODES, strict=False)]
"""The initial table: each key has a row, and one id is free."""
READ_AFTER_CHANGE = [Op("change", 2, 2, "b"), Op("read", 2, 2, "b")]
TURNS = st.lists(
    st.builds(
        Turn,
        st.integers(0, 4),
        st.integers(1, 4),
        st.sampled_from([0, 0, 0, 0, 1, 3]),
        st.sampled_from([None, None, None, None, None, None, 0.0, 0.3, 0.6, 1.0]),
    ),
    min_size=2,
    max_size=10,
)
THEN_OLDER_BATCH = [*[Turn(0, 1, 0, None)] * 3, Turn(0, 1, 0, 0.3)]


class Source:
    """The source table, and the events of its changes."""

    def __init__(self, target: Any, clock: Callable[[int], timedelta], *, reads: bool) -> None:
        self._target = target
        self._clock = clock
        self._reads = reads
        self._numbers = count(1)
        self.rows: dict[int, Row] = {}
        self.first: dict[int, int] = {}
        """The value with which each row got its key, which `insert_once` keeps."""
        self.events: list[tuple[int, list[Change]]] = []
        self.states: list[tuple[int, list[Row]]] = [(0, [])]
        self._lsn = 0
        self._ordinal = 0

    def apply(self, op: Op) -> None:
        """Run one transaction, unless it would violate the table's keys."""
        self._ordinal = 0
        one, other = self.rows.get(op.one), self.rows.get(op.other)
        taken = {row.code for row in self.rows.values()}
        match op.kind:
            case "insert" if one is None and op.code not in taken:
                self._write(op.one, op.code)
            case "change" if one is not None:
                self._write(op.one, one.code)
            case "recode" if one is not None and op.code not in taken:
                self._write(op.one, op.code)
            case "swap" if one is not None and other is not None and one != other:
                self._write(op.one, other.code)
                self._write(op.other, one.code, was=other)
            case "delete" if one is not None:
                self._delete(op.one)
            case "rename" if one is not None and other is None:
                self._delete(op.one)
                self._write(op.other, one.code, same_lsn=True)
            case "pass" if one is not None and other is None:
                self._delete(op.one)
                self._write(op.other, one.code)
            case "exchange" if one is not None and other is not None and one != other:
                self._rename(one, op.other)
                self._rename(other, op.one)
            case "read" if one is not None and self._reads:
                self._event(op.one, [self._change(one, None, read=True)])
        self.states.append((self._lsn, list(self.rows.values())))

    def _next(self, *, same_lsn: bool = False) -> tuple[int, int]:
        self._lsn += 0 if same_lsn else 10
        self._ordinal += 1
        return self._lsn, self._ordinal

    def _write(
        self, id_: int, code: str, *, was: Row | None = None, same_lsn: bool = False
    ) -> None:
        old = was or self.rows.get(id_)
        number = next(self._numbers)
        new = Row(code, id_, number, NOW + self._clock(id_) + timedelta(seconds=number))
        position = self._next(same_lsn=same_lsn)
        changes = []
        if old is not None and old.code != code:
            changes.append(self._gone(old.code, position, id_))
        if old is None or old.code != code:
            self.first[id_] = number
        self.rows[id_] = new
        self._event(id_, [*changes, self._change(new, position)])

    def _rename(self, row: Row, id_: int) -> None:
        """Change the primary key of a row, which is not part of the target's key."""
        new = row._replace(id=id_, v=next(self._numbers))
        new = new._replace(at=NOW + self._clock(id_) + timedelta(seconds=new.v))
        position = self._next()
        self._event(row.id, [self._gone(row.code, position, row.id)])
        self._event(id_, [self._change(new, position)])
        self.rows[id_], self.first[id_] = new, new.v

    def _delete(self, id_: int) -> None:
        row = self.rows.pop(id_)
        self._event(id_, [self._gone(row.code, self._next(), id_)])

    def _gone(self, code: str, position: tuple[int, int], id_: int) -> Change:
        action = self._target.mapping.on_key_change
        removal: Change = self._target.gone(code, action=action, position=position, owner=str(id_))
        return removal

    def _change(self, row: Row, position: tuple[int, int] | None, *, read: bool = False) -> Change:
        merges = self._target.mapping.conflict.strategy is Strategy.MERGE_CHANGED
        keep = READ if read and merges else 0
        write: Change = self._target.row(*row, position=position, keep=keep, owner=str(row.id))
        return write

    def _event(self, id_: int, changes: list[Change]) -> None:
        self.events.append((id_, changes))

    def expected(self) -> list[tuple[str, int, int]]:
        """Return the rows that the target must have."""
        first = self._target.mapping.conflict.strategy is Strategy.INSERT_ONCE
        rows = self.rows.values()
        return sorted((r.code, r.id, self.first[r.id] if first else r.v) for r in rows)

    def batch(self, share: float) -> list[Change]:
        """Return the rows of a batch run, whose snapshot follows this share of the history."""
        lsn, rows = self.states[round(share * (len(self.states) - 1))]
        return [self._change(row, (lsn + 1, BATCH_ORDINAL), read=True) for row in rows]

    def removals(self, keys: Sequence[str]) -> list[Change]:
        """Return what a full batch run removes; it checks these keys in the current source."""
        current = {row.code for row in self.rows.values()}
        position = (self._lsn + 1, BATCH_ORDINAL)
        return [self._target.gone(key, position=position) for key in keys if key not in current]


def deliver(target: Any, source: Source, turns: Sequence[Turn], partitions: int) -> None:
    queues: list[list[list[Change]]] = [[] for _ in range(partitions)]
    for id_, changes in source.events:
        queues[id_ % partitions].append(changes)
    at = [0] * partitions
    for turn in turns:
        if turn.batch is not None and target.mapping.conflict.strategy is not Strategy.INSERT_ONCE:
            target.write(*source.batch(turn.batch))
            target.write(*source.removals([code for (code,) in target.rows("code")]))
            continue
        number = turn.partition % partitions
        start = max(0, at[number] - turn.back)
        at[number] = min(len(queues[number]), start + turn.count)
        target.write(*(change for part in queues[number][start : at[number]] for change in part))
    rest = [change for n, q in enumerate(queues) for part in q[at[n] :] for change in part]
    target.write(*rest)


def reset(target: Any) -> None:
    tables = [target.table.sql_name, "sink.row_version"]
    if target.mapping.derived:
        tables.append(candidate_table(target.name))
    target.scratch.admin.execute(f"TRUNCATE {', '.join(tables)}".encode())


def shared_clock(_id: int) -> timedelta:
    return timedelta(0)


def separate_clocks(id_: int) -> timedelta:
    """Versions of different rows are not comparable."""
    return timedelta(days=-id_)


STRATEGIES = {
    "source": (source_wins(), shared_clock),
    "newest": (newest_wins("at"), shared_clock),
    "newest-separate-clocks": (newest_wins("at"), separate_clocks),
    "merge": (merge_changed("at"), shared_clock),
    "merge-separate-clocks": (merge_changed("at"), separate_clocks),
    "once": (insert_once(), shared_clock),
}


@pytest.mark.parametrize("partitions", [1, 2, 5])
@pytest.mark.parametrize("name", STRATEGIES)
def test_moving_key_converges(written: Callable[..., Any], name: str, partitions: int) -> None:
    conflict, clock = STRATEGIES[name]
    reads = clock is shared_clock and conflict.strategy is not Strategy.INSERT_ONCE
    converge(written, conflict, clock, partitions, KeyIdentity.PASSED_ON, reads=reads)


CANDIDATES = Derived(
    key=("code",), group=("code",), select="SELECT code, id, v, at FROM {candidates} c"
)
TYPES = {"code": "text", "id": "integer", "v": "integer", "at": "timestamp"}


@pytest.mark.parametrize("partitions", [1, 2, 5])
@pytest.mark.parametrize("name", ["source", "newest", "newest-separate-clocks"])
def test_moving_key_of_candidates_converges(
    written: Callable[..., Any], name: str, partitions: int
) -> None:
    conflict, clock = STRATEGIES[name]
    identity = KeyIdentity.PASSED_ON
    converge(written, conflict, clock, partitions, identity, reads=False, derived=CANDIDATES)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("name", ["source", "newest"])
def test_shared_key_converges(written: Callable[..., Any], name: str, partitions: int) -> None:
    """The source has no unique constraint, but each transaction leaves the key to one row."""
    conflict, clock = STRATEGIES[name]
    converge(written, conflict, clock, partitions, KeyIdentity.SHARED, reads=False)


def converge(
    written: Callable[..., Any],
    conflict: Conflict,
    clock: Callable[[int], timedelta],
    partitions: int,
    identity: KeyIdentity,
    *,
    reads: bool,
    derived: Derived | None = None,
) -> None:
    columns = [Column(name, type=TYPES[name]) for name in TYPES] if derived else COLUMNS
    declared = {"key": ("code",), "conflict": conflict, "identity": identity}
    target = written(DDL, *columns, derived=derived, **declared)

    @settings(
        max_examples=20,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(ops=OPS, turns=TURNS)
    @example(ops=READ_AFTER_CHANGE, turns=THEN_OLDER_BATCH)
    def run(ops: list[Op], turns: list[Turn]) -> None:
        reset(target)
        source = Source(target, clock, reads=reads)
        for op in [*FULL, *ops]:
            source.apply(op)
        deliver(target, source, turns, partitions)
        assert target.rows("code, id, v") == source.expected()

    run()


# -- every order of a few events ---------------------------------------------------------------

SCENARIOS = {
    "handed over": [Op("pass", 1, 4, "")],
    "renamed": [Op("rename", 1, 4, "")],
    "swapped": [Op("swap", 1, 2, "")],
    "exchanged": [Op("exchange", 1, 2, "")],
    "rotated": [Op("swap", 1, 2, ""), Op("swap", 2, 3, "")],
    "handed over and back": [Op("pass", 1, 4, ""), Op("pass", 4, 1, "")],
    "deleted and reused": [Op("delete", 1, 1, ""), Op("recode", 2, 2, "a"), Op("change", 2, 2, "")],
    "handed over and deleted": [Op("pass", 1, 4, ""), Op("delete", 4, 4, "")],
}


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_order_of_partitions_converges(
    written: Callable[..., Any], name: str, scenario: str, *, together: bool
) -> None:
    """Each row has its own partition; all events are written in one batch, or one by one."""
    conflict, clock = STRATEGIES[name]
    identity = KeyIdentity.PASSED_ON
    target = written(DDL, *COLUMNS, key=("code",), conflict=conflict, identity=identity)
    source = Source(target, clock, reads=False)
    for order in every_order(target, source, scenario, together=together):
        assert target.rows("code, id, v") == source.expected(), order


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("tie", [Tie.SOURCE, Tie.TARGET])
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", ["newest", "merge"])
def test_moving_key_with_conflict_detection_converges(
    written: Callable[..., Any], name: str, scenario: str, tie: Tie, *, together: bool
) -> None:
    """A removal marks the row; the preflight refuses mappings whose removal deletes it."""
    target = written(
        f"{DDL}, gone bool",
        *COLUMNS,
        key=("code",),
        conflict=STRATEGIES[name][0],
        conflict_detection=ConflictDetection(tie=tie),
        needs_before_image=True,
        on_key_change=SetColumns({"gone": True}),
        identity=KeyIdentity.PASSED_ON,
    )
    source = Source(target, shared_clock, reads=False)
    for order in every_order(target, source, scenario, together=together):
        assert {*source.expected()} <= {*target.rows("code, id, v")}, order


def every_order(
    target: Any, source: Source, scenario: str, *, together: bool
) -> Iterator[list[list[Change]]]:
    for op in FULL:
        source.apply(op)
    before = len(source.events)
    for op in SCENARIOS[scenario]:
        source.apply(op)
    new_events = source.events[before:]
    queues = [[changes for id_, changes in new_events if id_ == one] for one in IDS]
    for order in interleavings(queues):
        reset(target)
        target.write(*(change for _, changes in source.events[:before] for change in changes))
        if together:
            target.write(*(change for changes in order for change in changes))
        else:
            for changes in order:
                target.write(*changes)
        yield order
