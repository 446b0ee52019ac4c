"""Stale rows, which lose against a newer version, are counted by every kind of statement."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.batch.report import Report
from sink_runner.plugin import ABSENT, Column, Derived, merge_changed, newest_wins

pytestmark = pytest.mark.postgres

Make = Callable[..., Any]
TYPES = {
    "int": ("10", "9"),
    "numeric(6,1)": ("10.1", "9.9"),
    "date": ("2024-02-10", "2024-02-09"),
    "timestamp": ("infinity", "2024-02-09 10:00:00"),
    "timestamptz": ("2024-02-10 00:00:00+00", "0044-03-15 00:00:00+00 BC"),
}
"""Types of a version, each with a later and an earlier value; some sort differently as text."""


@pytest.fixture(params=TYPES)
def versions(request) -> tuple[str, str, str]:
    return (request.param, *TYPES[request.param])


@pytest.mark.parametrize("strategy", [newest_wins, merge_changed])
class TestWholeRows:
    @pytest.fixture
    def target(self, written: Make, versions, strategy) -> Any:
        ddl = f"id int PRIMARY KEY, v text, at {versions[0]}"
        return written(ddl, conflict=strategy("at"), needs_before_image=strategy is merge_changed)

    def test_older_row_is_stale(self, target: Any, versions) -> None:
        _, later, earlier = versions
        assert target.write(target.row(1, "a", later), target.row(2, "a", earlier)) == 2
        rows = [target.row(1, "b", earlier), target.row(2, "b", later), target.row(3, "b", later)]
        assert target.write(*rows) == 2
        assert target.writer.state.outcomes["stale"] == 1
        assert target.rows("v") == [("a",), ("b",), ("b",)]

    def test_row_without_version_is_stale(self, target: Any, versions) -> None:
        target.write(target.row(1, "a", versions[1]))
        assert target.write(target.row(1, "b", None)) == 0
        assert target.writer.state.outcomes["stale"] == 1

    def test_same_row_is_not_stale(self, target: Any, versions) -> None:
        target.write(target.row(1, "a", versions[1]), target.row(2, "a", None))
        assert target.write(target.row(1, "a", versions[1]), target.row(2, "a", None)) == 0
        assert target.writer.state.outcomes["stale"] == 0

    def test_older_row_of_same_batch_is_stale(self, target: Any, versions) -> None:
        _, later, earlier = versions
        target.write(target.row(1, "a", later), target.row(1, "b", earlier))
        assert (target.writer.state.outcomes["stale"], target.rows("v")) == (1, [("a",)])
        target.write(target.row(2, "a", earlier), target.row(2, "b", later))
        assert target.writer.state.outcomes["stale"] == 0


def test_older_partial_row_is_stale(written: Make, versions) -> None:
    type_, later, earlier = versions
    target = written(
        f"id int PRIMARY KEY, v text, big text, at {type_}", conflict=newest_wins("at")
    )
    target.write(target.row(1, "a", "large", later))
    assert target.write(target.row(1, "b", ABSENT, earlier, keep=1 << 2)) == 0
    assert target.writer.state.outcomes["stale"] == 1
    assert target.write(target.row(1, "c", ABSENT, later, keep=1 << 2)) == 1
    assert target.writer.state.outcomes["stale"] == 0


def test_older_candidate_is_stale(written: Make, versions) -> None:
    type_, later, earlier = versions
    target = written(
        f"id int PRIMARY KEY, v text, at {type_}",
        Column("id", type="integer"),
        Column("v", type="text"),
        Column("at", type=type_),
        conflict=newest_wins("at"),
        derived=Derived(key=("id",), group=("id",), select="SELECT id, v, at FROM {candidates} c"),
    )
    target.write(target.row(1, "a", later, position=2))
    target.write(target.row(1, "b", earlier, position=3))
    assert target.writer.state.outcomes["stale"] == 1
    assert target.rows("v") == [("a",)]


def test_batch_reports_stale_rows() -> None:
    counts = Counter(read=5, carried=5, written=2, stale=2)
    lines = list(Report(mapping="m", mode="full", dry_run=False, counts=counts).lines())
    assert any(line.startswith("  stale 2:") for line in lines)
    assert "unchanged 1" in lines[1]
