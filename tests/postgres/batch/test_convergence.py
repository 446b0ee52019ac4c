"""A full batch between events leaves the target as the events alone would."""

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sink_runner.loading import discovery
from sink_runner.masking.policy import Policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.model.changes import Removal, Write
from sink_runner.model.partition import Topic
from sink_runner.plugin import Table, TableMapping
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.testing import NOW
from sink_runner.transform.compiled_mapping import CompiledMapping, target_columns
from sink_runner.transform.steps import Chain
from sink_runner.writer.audit import trail
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets
from sink_runner.writer.writers import make_writer

pytestmark = pytest.mark.postgres

COLUMN_DDL = "id int PRIMARY KEY, title varchar(200), version int{}"
DDL = f"CREATE SCHEMA model; CREATE TABLE model.{{}} ({COLUMN_DDL})"
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.model.{name}",
        target="smart_citizen.model.{name}",
        key=("id",),
        {declared}
    )

@hookimpl
def sink_filter(event):
    return FilterResult.REMOVE if event.row["title"] == "x" else FilterResult.PASS
"""
COLUMNS = 'Column("id"), Column("title"), Column("version")'
STATE = ', Column("state", Constant("there"))'
GONE = 'SetColumns({"state": "gone"})'
RULES = {
    "newest": f'conflict=newest_wins("version"), columns=({COLUMNS}{STATE})',
    "tied": f'conflict=newest_wins("version"), columns=({COLUMNS}{STATE})',
    "source": f"conflict=source_wins(), columns=({COLUMNS}{STATE})",
    "marks": f"conflict=source_wins(), columns=({COLUMNS}{STATE}), "
    f"on_delete={GONE}, on_remove={GONE}",
}
# Runs the callbacks of `pending` after the first chunk of a run.
BETWEEN = """
from sink_runner.plugin import hookimpl
pending = []

@hookimpl
def sink_batch_committed():
    while pending:
        pending.pop()()
"""
ORPHAN = 9
UNCHANGED = {-1: ("still", "there"), 0: ("still", "there")}  # they fill the first chunk
POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"


class Op(NamedTuple):
    """A change of a source row: its new name, or None for a deletion."""

    key: int
    name: str | None


class Model:
    """Two tables, the batch between them, and a writer that applies events on request."""

    def __init__(self, pair: Any, site: Any, name: str) -> None:
        self.pair, self.name = pair, name
        site.plugin(name, PLUGIN.format(name=name, declared=RULES[name]))
        site.plugin("between", BETWEEN)
        self._between = site.modules[-1]
        plugin = discovery.installed()[name]
        discovery.load(plugin)
        assert plugin.mapping is not None, plugin.errors
        self.mapping: TableMapping = plugin.mapping
        for admin, more, role in (
            (pair.warehouse, "", "sink_reader"),
            (pair.citizen, ", state text", "sink_writer"),
        ):
            admin.execute(DDL.format(name, more).encode())
            admin.execute(f"GRANT USAGE ON SCHEMA model TO {role}".encode())
            admin.execute(f"GRANT ALL ON model.{name} TO {role}".encode())
        publish = f"ALTER PUBLICATION sink_publication ADD TABLE model.{name}"
        pair.warehouse.execute(publish.encode())
        self.session = connect(pair.config().databases["smart_citizen"].dsn, "model")
        migrate(self.session)
        catalog = read_table(self.session, Table.parse(self.mapping.target))
        no_policies = Policies(PolicyFiles(version=0, digest="", policies=()))
        columns = target_columns(self.mapping, catalog.columns, no_policies)
        compiled = CompiledMapping(columns, Chain(), None, None)
        audit_trail = trail(name, self.mapping, compiled, Encryptor(bytes(32), "test"))
        self.writer = make_writer(name, self.mapping, compiled, catalog, audit_trail)
        self.writer.prepare(self.session)
        self.offsets = Offsets(name, Topic("model", name, "model"), "model")

    def reset(self) -> None:
        self.pair.warehouse.execute(f"TRUNCATE model.{self.name}".encode())
        self.pair.citizen.execute(
            f"TRUNCATE model.{self.name}, sink.row_version, sink.batch_run".encode()
        )
        self.pair.citizen.execute(
            f"INSERT INTO model.{self.name} VALUES ({ORPHAN}, 'orphan', 0, 'there')".encode()
        )
        insert = f"INSERT INTO model.{self.name} VALUES (-1, 'still', 1), (0, 'still', 1)"
        self.pair.warehouse.execute(insert.encode())
        self.writer.state.has_tombstones = False

    def change_source(self, op: Op, version: int) -> list[Write | Removal]:
        """Change the source; return the target change of its event, or nothing if there is none."""
        version = 1 if self.name == "tied" else version
        (position,) = self.pair.warehouse.execute(POSITION).fetchone()
        table = f"model.{self.name}"
        if op.name is None:
            query = f"DELETE FROM {table} WHERE id = %s"
            if not self.pair.warehouse.execute(query.encode(), (op.key,)).rowcount:
                return []
        else:
            query = (
                f"INSERT INTO {table} VALUES (%s, %s, %s) ON CONFLICT (id) "
                "DO UPDATE SET title = excluded.title, version = excluded.version"
            )
            self.pair.warehouse.execute(query.encode(), (op.key, op.name, version))
        if op.name is None or op.name == "x":
            action = self.mapping.on_remove if op.name else self.mapping.on_delete
            return [Removal((op.key,), action, (position, 0), None)]
        values = (op.key, op.name, version, "there")
        return [Write((op.key,), values, 0, partial=False, position=(position, 0), source=None)]

    def batch(self, meanwhile: Callable[[], None]) -> None:
        """Run the batch in full, and call `meanwhile` after its first chunk."""
        discovery.load(discovery.installed()["between"])
        sys.modules[self._between].pending.append(meanwhile)
        report = self.pair.run(self.name, "between", full=True, batch={"max_rows": 2})
        assert report.is_good(0), list(report.lines())

    def apply(self, events: list[Write | Removal]) -> None:
        with self.session.transaction():
            self.offsets.claim(self.session, [0])  # touched as by an advance
            self.writer.write(self.session, events, NOW)

    def rows(self) -> dict[int, tuple[str, str]]:
        query = f"SELECT id, title, state FROM model.{self.name}"
        return {key: (name, state) for key, name, state in self.pair.citizen.execute(query)}

    def expected(self, ops: list[Op]) -> dict[int, tuple[str, str]]:
        """Return the rows that the events alone would leave, without the orphan."""
        rows = {ORPHAN: ("orphan", "there"), **UNCHANGED}
        for op in [*ops, Op(ORPHAN, None)]:
            if op.name is not None and op.name != "x":
                rows[op.key] = (op.name, "there")
            elif self.name == "marks" and op.key in rows:
                rows[op.key] = (rows[op.key][0], "gone")
            else:
                rows.pop(op.key, None)
        return rows


@pytest.fixture(params=RULES)
def model(request, pair, site) -> Iterator[Model]:
    created = Model(pair, site, request.param)
    yield created
    created.session.close()


OPS = st.lists(
    st.builds(Op, st.integers(1, 3), st.sampled_from(["a", "b", "x", None])), min_size=1, max_size=8
)


def test_batch_converges_with_events_at_any_time(model: Model) -> None:
    """Some events precede the snapshot and are applied later; others overtake rows of the run."""

    @settings(max_examples=8, database=None)
    @example(ops=[Op(1, "a"), Op(1, "b")], cuts=[1, 1, 2])
    @example(ops=[Op(1, "a"), Op(1, "b"), Op(1, None)], cuts=[1, 1, 2])
    @example(ops=[Op(1, "a"), Op(1, "x")], cuts=[1, 1, 2])
    @given(ops=OPS, cuts=st.lists(st.integers(0, 8), min_size=3, max_size=3).map(sorted))
    def converges(ops: list[Op], cuts: list[int]) -> None:
        model.reset()
        early, read, overtaking = cuts
        events: list[Write | Removal] = []

        def change(first: int, last: int) -> None:
            for version, op in enumerate(ops[first:last], start=first + 2):
                events.extend(model.change_source(op, version))

        def apply() -> None:
            model.apply(events)
            events.clear()

        def meanwhile() -> None:
            change(read, overtaking)
            if overtaking > read:
                apply()

        change(0, early)
        apply()
        change(early, read)
        model.batch(meanwhile)
        change(overtaking, len(ops))
        apply()
        assert model.rows() == model.expected(ops)

    converges()
