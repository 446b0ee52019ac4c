"""The offsets from which a replay reads again, and the starts that it refuses."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sink_runner.control.replay import Start, Step, effects, find_steps
from sink_runner.errors import ConfigError
from sink_runner.kafka.feed import Bounds
from sink_runner.kafka.offset_queries import TopicOffsets
from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Derived,
    OnTruncate,
    TableMapping,
    insert_once,
    newest_wins,
    source_wins,
)

NOON = Start.parse("2026-03-01T12:00")


def held(first: int, end: int, begins: int | None = None) -> TopicOffsets:
    return TopicOffsets(Bounds(first, end), end if begins is None else begins)


def mapping(**declared: Any) -> TableMapping:
    defaults = {"source": "north.public.a", "target": "south.public.a", "key": ("id",)}
    columns = (Column("id"), Column("at"), Column("family"))
    return TableMapping(**defaults | {"columns": columns, "conflict": source_wins()} | declared)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("offset:3:1500", Start("offset:3:1500", None, 3, 1500)),
        ("2026-03-01", Start("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC))),
        (
            "2026-03-01T12:00+05:30",
            Start("2026-03-01T12:00+05:30", datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        ),
    ],
)
def test_start_is_time_or_offset(text: str, expected: Start) -> None:
    assert Start.parse(text) == expected


@pytest.mark.parametrize("text", ["", "offset:1", "offset:1:-2", "offset:x:1", "yesterday"])
def test_malformed_start_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        Start.parse(text)


def test_time_moves_partitions_with_later_events() -> None:
    log = {0: held(0, 10, 4), 1: held(0, 10, 9), 2: held(0, 10)}
    assert find_steps("m", NOON, log, {0: 8, 1: 9, 2: 10}) == [Step(0, 4, 8)]


def test_offset_moves_its_partition() -> None:
    log = {0: held(0, 10), 1: held(2, 10)}
    start = Start.parse("offset:1:2")
    assert find_steps("m", start, log, {0: 8, 1: 9}) == [Step(1, 2, 9)]


@pytest.mark.parametrize(
    ("start", "log"),
    [
        (Start.parse("offset:0:4"), held(5, 10)),
        (NOON, held(5, 10, 5)),
    ],
    ids=["offset", "time"],
)
def test_deleted_events_are_refused_with_way_out(start: Start, log: TopicOffsets) -> None:
    with pytest.raises(ConfigError, match=r"has deleted events.*`sink-runner batch m --full`"):
        find_steps("m", start, {0: log}, {0: 10})


def test_log_that_begins_at_zero_is_complete() -> None:
    assert find_steps("m", NOON, {0: held(0, 10, 0)}, {0: 3}) == [Step(0, 0, 3)]


@pytest.mark.parametrize("applied", [{}, {0: None}, {0: 4}])
def test_replay_never_skips_events(applied: dict[int, int | None]) -> None:
    with pytest.raises(ConfigError, match="nothing to replay"):
        find_steps("m", Start.parse("offset:0:4"), {0: held(0, 10)}, applied)


def test_unknown_partition_is_refused() -> None:
    with pytest.raises(ConfigError, match="no partition 7"):
        find_steps("m", Start.parse("offset:7:0"), {0: held(0, 10)}, {0: 4})


DERIVED = Derived(key=("id",), group=("family",), select="SELECT 1")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({"conflict": insert_once()}, "are inserted again"),
        ({"derived": DERIVED}, "derived from intermediate states"),
        (
            {"conflict": newest_wins("at"), "conflict_detection": ConflictDetection()},
            "recorded as conflicts once more",
        ),
        ({"on_truncate": OnTruncate.EMPTY}, "a TRUNCATE in the range empties"),
    ],
    ids=["insert once", "derived", "conflicts", "truncate"],
)
def test_plan_names_effects_that_do_harm(declared: dict[str, Any], text: str) -> None:
    (line,) = [one for one in effects(mapping(**declared), 30) if one.startswith("not harmless")]
    assert text in line


def test_plan_of_plain_mapping_is_harmless() -> None:
    lines = [*effects(mapping(), 30)]
    assert not [one for one in lines if one.startswith("not harmless")]
    assert lines[0].startswith("source wins")
    assert lines[-1].startswith("not reversible")
