"""A TRUNCATE of the source stops the mapping, empties the target or is ignored."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from sink_runner.errors import FatalError
from sink_runner.loading.mapping_checks import mapping_faults
from sink_runner.plugin import OnTruncate
from sink_runner.testing import NOW, Sample, TargetHarness, create, truncate

pytestmark = pytest.mark.postgres

MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.things", target="{database}.public.things", key=("id",),
        columns=(Column("id", type="int"), Column("v", type="text"), Column("at", type="int")),
        {declared},
    )
"""
SELECT = "SELECT id, v, at FROM {candidates} c"
CANDIDATES = f'derived=Derived(key=("id",), group=("id",), select="{SELECT}")'
STRATEGIES = {
    "source wins": "conflict=source_wins()",
    "newest wins": 'conflict=newest_wins("at")',
    "insert once": "conflict=insert_once()",
    "candidates": f'conflict=newest_wins("at"), {CANDIDATES}',
}
Make = Callable[..., TargetHarness]


@pytest.fixture
def make(postgres: Any, site: Any) -> Iterator[Make]:
    opened = []

    def make_target(strategy: str = "source wins", on_truncate: str = "EMPTY") -> TargetHarness:
        name = postgres.fresh_database(like="smart_citizen")
        with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
            admin.execute("CREATE TABLE things (id int PRIMARY KEY, v text, at int)")
            admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON things TO sink_writer")
        declared = STRATEGIES[strategy]
        declared += f", on_truncate=OnTruncate.{on_truncate}" if on_truncate else ""
        code = MAPPING.replace("{declared}", declared).replace("{database}", name)
        if strategy != "candidates":
            code = code.replace(', type="int"', "").replace(', type="text"', "")
        site.plugin("things", code)
        opened.append(
            TargetHarness(
                "things", dsn=postgres.dsn(name, role="sink_writer"), admin_dsn=postgres.dsn(name)
            )
        )
        return opened[-1]

    yield make_target
    for one in opened:
        one.close()


def thing(identity: int, position: int, v: str = "a") -> Sample:
    return create(id=identity, v=v, at=position).at(NOW, position)


def truncation(position: int) -> Sample:
    return truncate().at(NOW, position)


def ids(target: TargetHarness) -> list[int]:
    return [row["id"] for row in target.rows()]


@pytest.mark.parametrize("on_truncate", ["", "STOP"])
def test_mapping_stops_by_default(make: Make, on_truncate: str) -> None:
    target = make(on_truncate=on_truncate)
    target.send(thing(1, 1))
    at = target.at
    with pytest.raises(FatalError) as caught:
        target.send(truncation(2))
    text = str(caught.value)
    assert "north.public.things was truncated" in text
    assert "OnTruncate.EMPTY" in text
    assert "OnTruncate.KEEP" in text
    assert (ids(target), target.at, target.dead()) == ([1], at, [])


def test_keep_ignores_truncate(make: Make) -> None:
    target = make(on_truncate="KEEP")
    target.send(thing(1, 1), truncation(2), thing(2, 3))
    assert (ids(target), target.dead()) == ([1, 2], [])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_empty_removes_rows_from_before_truncate(
    make: Make, strategy: str, *, in_one_batch: bool
) -> None:
    target = make(strategy)
    events = [thing(1, 1), thing(2, 2), truncation(3), thing(2, 4, "b"), thing(3, 5)]
    for batch in [events] if in_one_batch else [[event] for event in events]:
        target.send(*batch)
    assert [(row["id"], row["v"]) for row in target.rows()] == [(2, "b"), (3, "a")]
    assert target.dead() == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_older_event_of_another_partition_is_stale(make: Make, strategy: str) -> None:
    target = make(strategy)
    target.send(thing(1, 1), truncation(9))
    target.send(thing(2, 5), thing(3, 10))
    assert ids(target) == [3]


@pytest.mark.parametrize("strategy", ["source wins", "candidates"])
def test_newer_row_of_another_partition_stays(make: Make, strategy: str) -> None:
    target = make(strategy)
    target.send(thing(1, 1), thing(2, 20))
    target.send(truncation(9))
    assert ids(target) == [2]


def test_several_partitions_need_positions(make: Make) -> None:
    target = make("newest wins")
    target.committer.claim([1])
    with pytest.raises(FatalError, match="several partitions"):
        target.send(truncation(9))


def test_truncate_keeps_rows_of_callbacks(make: Make) -> None:
    target = make()
    target.send(thing(1, 1), replace(thing(7, 1), position=None))
    target.send(truncation(9))
    assert ids(target) == [7]


def test_truncate_and_offset_are_one_transaction(make: Make) -> None:
    target = make()
    target.send(thing(1, 1))
    target.admin.execute("ALTER TABLE things ADD CHECK (v <> 'bad')")
    target.epoch += 1  # the partition was taken over
    with pytest.raises(Exception, match="moved on"):
        target.send(truncation(2))
    assert ids(target) == [1]


def test_dead_letter_older_than_truncate_is_stale(make: Make) -> None:
    target = make("insert once")
    target.admin.execute("ALTER TABLE things ADD CONSTRAINT bad CHECK (v <> 'bad')")
    target.send(thing(1, 1, "bad"))
    target.send(truncation(2))
    target.admin.execute("ALTER TABLE things DROP CONSTRAINT bad")
    target.admin.execute("UPDATE sink.dead_letter SET status = 'PARKED'")
    target.retry()
    assert ids(target) == []


def test_shared_target_is_never_emptied(make: Make) -> None:
    mapping = make().pipeline.mapping
    shared = replace(mapping, shared_target=True)
    assert any("on_truncate" in fault for fault in mapping_faults(shared))
    kept = replace(shared, on_truncate=OnTruncate.KEEP)
    assert not any("on_truncate" in fault for fault in mapping_faults(kept))
