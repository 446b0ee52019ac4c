"""Rows that lose against a newer version are counted, however they are written."""

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
"""Types of a version, each with a later and an earlier one; as text some are the other way."""


@pytest.fixture(params=TYPES)
def versions(request) -> tuple[str, str, str]:
    return (request.param, *TYPES[request.param])


@pytest.mark.parametrize("strategy", [newest_wins, merge_changed])
class TestWholeRows:
    @pytest.fixture
    def made(self, written: Make, versions, strategy) -> Any:
        ddl = f"id int PRIMARY KEY, v text, at {versions[0]}"
        return written(ddl, conflict=strategy("at"), needs_before_image=strategy is merge_changed)

    def test_an_older_row_is_counted(self, made: Any, versions) -> None:
        _, later, earlier = versions
        assert made.write(made.row(1, "a", later), made.row(2, "a", earlier)) == 2
        rows = [made.row(1, "b", earlier), made.row(2, "b", later), made.row(3, "b", later)]
        assert made.write(*rows) == 2
        assert made.writer.state.outcomes["stale"] == 1
        assert made.rows("v") == [("a",), ("b",), ("b",)]

    def test_a_row_without_a_version_is_older(self, made: Any, versions) -> None:
        made.write(made.row(1, "a", versions[1]))
        assert made.write(made.row(1, "b", None)) == 0
        assert made.writer.state.outcomes["stale"] == 1

    def test_the_same_row_is_not_counted(self, made: Any, versions) -> None:
        made.write(made.row(1, "a", versions[1]), made.row(2, "a", None))
        assert made.write(made.row(1, "a", versions[1]), made.row(2, "a", None)) == 0
        assert made.writer.state.outcomes["stale"] == 0

    def test_older_row_of_same_batch_is_counted(self, made: Any, versions) -> None:
        _, later, earlier = versions
        made.write(made.row(1, "a", later), made.row(1, "b", earlier))
        assert (made.writer.state.outcomes["stale"], made.rows("v")) == (1, [("a",)])
        made.write(made.row(2, "a", earlier), made.row(2, "b", later))
        assert made.writer.state.outcomes["stale"] == 0


def test_an_older_patch_is_counted(written: Make, versions) -> None:
    type_, later, earlier = versions
    made = written(f"id int PRIMARY KEY, v text, big text, at {type_}", conflict=newest_wins("at"))
    made.write(made.row(1, "a", "large", later))
    assert made.write(made.row(1, "b", ABSENT, earlier, keep=1 << 2)) == 0
    assert made.writer.state.outcomes["stale"] == 1
    assert made.write(made.row(1, "c", ABSENT, later, keep=1 << 2)) == 1
    assert made.writer.state.outcomes["stale"] == 0


def test_an_older_candidate_is_counted(written: Make, versions) -> None:
    type_, later, earlier = versions
    made = written(
        f"id int PRIMARY KEY, v text, at {type_}",
        Column("id", type="integer"),
        Column("v", type="text"),
        Column("at", type=type_),
        conflict=newest_wins("at"),
        derived=Derived(key=("id",), group=("id",), select="SELECT id, v, at FROM {candidates} c"),
    )
    made.write(made.row(1, "a", later, position=2))
    made.write(made.row(1, "b", earlier, position=3))
    assert made.writer.state.outcomes["stale"] == 1
    assert made.rows("v") == [("a",)]


def test_a_batch_reports_what_lost() -> None:
    counts = Counter(read=5, carried=5, written=2, stale=2)
    lines = list(Report(mapping="m", mode="full", dry_run=False, counts=counts).lines())
    assert any(line.startswith("  stale 2:") for line in lines)
    assert "unchanged 1" in lines[1]
