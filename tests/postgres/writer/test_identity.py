"""A value is unchanged only if it is stored identically, not if the type's `=` holds."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from sink_runner.plugin import (
    ABSENT,
    Column,
    ConflictDetection,
    Derived,
    SetColumns,
    TableMapping,
    Tie,
    merge_changed,
    newest_wins,
    source_wins,
)
from sink_runner.preflight.target_checks import version_faults
from sink_runner.testing import NOW

from ...support.type_values import TYPES, TypeValues

pytestmark = pytest.mark.postgres

Make = Callable[..., Any]
PAIRS = [values for values in TYPES if values.equal_pairs and not values.extension]
UNEQUAL_TYPES = [
    ("numeric(10,2)", "1.5", "1.50"),
    ("numeric(10,2)[]", "{1.5}", "{1.50}"),
    ("char(5)", "ab", "ab   "),
    ("char(5)[]", "{ab}", '{"ab   "}'),
    ("varchar(5)", "abc", "abc"),
    ("varbit(5)", "101", "101"),
    ("timestamp(0)", "2024-01-01 10:00:00.4", "2024-01-01 10:00:00"),
    ("time(0)", "24:00:00", "24:00:00"),
    ("interval(0)", "1.4 s", "1 s"),
]
"""Types with a modifier, and two literals that a column stores as the same value."""


def case_id(value: Any) -> str:
    return value.name if isinstance(value, TypeValues) else str(value)


@pytest.fixture(params=["source wins", "newest wins", "merge", "patch"])
def pair(request, written: Make) -> Callable[..., Any]:
    """Return a function that makes a table and a function that writes a literal to it."""

    def make(type_: str) -> tuple[Any, Callable[[str, int], int]]:
        strategy = {"newest wins": newest_wins("n"), "merge": merge_changed("n")}
        target = written(
            f"id int PRIMARY KEY, v {type_}, n int, other text",
            conflict=strategy.get(request.param, source_wins()),
            needs_before_image=request.param == "merge",
        )

        def write(literal: str, version: int) -> int:
            partial = request.param == "patch" and version > 1
            keep = 1 << 3 if partial else 0
            row = (1, literal, 7 if partial else version, ABSENT if partial else "x")
            return target.write(target.row(*row, keep=keep, position=version))

        return target, write

    return make


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_equal_value_with_other_text_is_written(pair, values: TypeValues) -> None:
    target, write = pair(values.sql)
    for version, literal in enumerate([text for both in values.equal_pairs for text in both], 1):
        assert write(literal, version) == 1
        query = f"SELECT v::text, %s::{values.sql}::text FROM {target.table.sql_name}"
        stored, expected = target.scratch.admin.execute(query.encode(), (literal,)).fetchone()
        assert stored == expected


@pytest.mark.parametrize(("type_", "one", "other"), UNEQUAL_TYPES, ids=case_id)
def test_value_stored_identically_is_written_once(written: Make, type_, one, other) -> None:
    target = written(f"id int PRIMARY KEY, v {type_}, other text")
    assert target.write(target.row(1, one, "x", position=1)) == 1
    for position, literal in enumerate([other, one], 2):
        assert target.write(target.row(1, literal, "x", position=position)) == 0
        row = target.row(1, literal, ABSENT, keep=1 << 2, position=position)
        assert target.write(row) == 0
        mark = SetColumns({"v": literal})
        assert target.write(target.gone(1, action=mark, position=position)) == 0


def test_patch_refuses_too_long_value(written: Make) -> None:
    """If it were truncated, it would equal the stored value and count as unchanged."""
    target = written("id int PRIMARY KEY, v varchar(3), other text")
    target.write(target.row(1, "abc", "x"))
    with pytest.raises(Exception, match="too long"):
        target.write(target.row(1, "abcd", ABSENT, keep=1 << 2, position=2))


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_mark_with_other_text_is_written(written: Make, values: TypeValues) -> None:
    target = written(f"id int PRIMARY KEY, v {values.sql}")
    ((one, other), *_) = values.equal_pairs
    target.write(target.row(1, one))
    assert target.write(target.gone(1, action=SetColumns({"v": other}), position=2)) == 1
    assert target.write(target.gone(1, action=SetColumns({"v": other}), position=3)) == 0


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_derived_row_with_other_text_is_written(written: Make, values: TypeValues) -> None:
    target = written(
        f"id int PRIMARY KEY, v {values.sql}",
        Column("id", type="integer"),
        Column("v", type=values.sql),
        name=f"c_{values.name}",
        derived=Derived(key=("id",), group=("id",), select="SELECT id, v FROM {candidates} c"),
    )
    ((one, other), *_) = values.equal_pairs
    assert [
        target.write(target.row(1, text, position=n)) for n, text in enumerate([one, other])
    ] == [
        1,
        1,
    ]
    assert target.write(target.row(1, other, position=2)) == 0


OLD_VALUES = [
    ("json", '{"a": "\\u0000"}', '{"a": 1}'),
    ("json", "1E400000", "1"),
    ("timestamp", "infinity", "2024-01-01"),
    ("timestamptz", "0044-03-15 00:00:00+00 BC", "2024-01-01"),
    ("date", "-infinity", "2024-01-01"),
    ("date", "0044-03-15 BC", "2024-01-01"),
    ("time", "24:00:00", "10:00:00"),
    ("interval", "178000000 years", "1 day"),
    ("json[]", '{"{\\"a\\": 1}"}', "{}"),
    ("xml", "<a/>", "<b/>"),
    ("point", "(1,1)", "(2,2)"),
    ("daterange", "[2024-02-29,infinity)", "empty"),
]
"""Types with a value that Python cannot represent or PostgreSQL compare, and an ordinary one."""


@pytest.mark.parametrize(("type_", "old", "new"), OLD_VALUES, ids=case_id)
@pytest.mark.parametrize("tie", Tie)
def test_conflict_with_special_old_value_is_found(
    written: Make, tie: Tie, type_: str, old: str, new: str
) -> None:
    target = written(
        f"id int PRIMARY KEY, v {type_}, at timestamp",
        source="smart_citizen.public.t",
        target="smart_warehouse.public.t",
        conflict=newest_wins("at"),
        conflict_detection=ConflictDetection(tie=tie),
        needs_before_image=True,
    )
    target.scratch.admin.execute("TRUNCATE sink.conflict")
    target.write(target.row(1, new, NOW))
    target.scratch.admin.execute(f"UPDATE {target.table.sql_name} SET v = %s".encode(), (old,))
    event = target.row(1, new, NOW, position=2)._replace(base=target.row(1, new, NOW).values)
    target.write(event._replace(base=target.row(1, None, NOW).values))
    kinds = target.scratch.admin.execute("SELECT conflict_type FROM sink.conflict")
    assert kinds.fetchall() == [("data_conflict",)]
    ((found,),) = target.rows("v::text")
    ((expected,),) = target.scratch.admin.execute(
        f"SELECT %s::{type_}::text".encode(), (new if tie is Tie.SOURCE else old,)
    ).fetchall()
    assert found == expected


@pytest.mark.parametrize(
    ("type_", "later", "earlier"),
    [
        ("timestamp(0)", "2024-01-01 10:00:00.9", "2024-01-01 10:00:00.6"),
        ("timestamptz(0)", "2024-01-01 10:00:00.9+00", "2024-01-01 10:00:00.6+00"),
        ("numeric(6,1)", "1.19", "1.16"),
        ("numeric(6,0)", "1.9", "1.6"),
        ("date", "2024-01-02", "2024-01-02"),
    ],
)
def test_versions_are_compared_as_they_are_stored(
    written: Make, type_: str, later: str, earlier: str
) -> None:
    """Storing rounds the earlier version up; unrounded, the later one would look older."""
    target = written(
        f"id int PRIMARY KEY, v text, at {type_}",
        conflict=merge_changed("at"),
        needs_before_image=True,
    )
    target.write(target.row(1, "first", earlier, position=1))
    assert target.write(target.row(1, "second", later, position=2)) == 1
    assert target.rows("v") == [("second",)]


ORDERED = ["smallint", "int", "bigint", "numeric(9,3)", "date", "timestamp", "timestamptz(0)"]
UNORDERED = ["text", "varchar(9)", "uuid", "json", "boolean", "time", "interval", "bytea", "int[]"]


@pytest.mark.parametrize("strategy", [newest_wins("at"), merge_changed("at")], ids=case_id)
@pytest.mark.parametrize("type_", [*ORDERED, *UNORDERED])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_version_type_must_be_ordered_by_time(scratch, strategy, type_: str, depth: int) -> None:
    declared = type_
    for number in range(depth):
        domain = f"{scratch.schema}.version_{number}"
        scratch.admin.execute(f"CREATE DOMAIN {domain} AS {declared}".encode())
        declared = domain
    table = scratch.table(f"id int PRIMARY KEY, at {declared}")
    mapping = TableMapping(
        source="north.public.t",
        target="north.public.t",
        key=("id",),
        conflict=strategy,
        columns=(Column("id"), Column("at")),
        needs_before_image=True,
    )
    problems = [finding.problem for finding in version_faults(mapping, table)]
    if type_ in ORDERED:
        assert problems == []
        return
    assert re.match(r"^\w+: column 'at' of north\.public\.t is of type ", problems[0])


def test_infinite_version_is_newest(written: Make) -> None:
    target = written("id int PRIMARY KEY, v text, at timestamp", conflict=newest_wins("at"))
    target.write(target.row(1, "last", "infinity"))
    assert target.write(target.row(1, "late", NOW + timedelta(days=1), position=2)) == 0
    assert target.write(target.row(1, "later", datetime.max, position=2)) == 0  # noqa: DTZ901
