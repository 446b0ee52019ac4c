"""What is stored is what was sent: "unchanged" means identical, whatever the type's `=` says."""

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
"""Types with a modifier, and two literals that their columns store alike."""


def case_id(value: Any) -> str:
    return value.name if isinstance(value, TypeValues) else str(value)


@pytest.fixture(params=["source wins", "newest wins", "merge", "patch"])
def pair(request, written: Make) -> Callable[..., Any]:
    """Write two literals one after the other by each kind of statement."""

    def make(type_: str) -> tuple[Any, Callable[[str, int], int]]:
        strategy = {"newest wins": newest_wins("n"), "merge": merge_changed("n")}
        made = written(
            f"id int PRIMARY KEY, v {type_}, n int, other text",
            conflict=strategy.get(request.param, source_wins()),
            needs_before_image=request.param == "merge",
        )

        def write(literal: str, version: int) -> int:
            partial = request.param == "patch" and version > 1
            keep = 1 << 3 if partial else 0
            row = (1, literal, 7 if partial else version, ABSENT if partial else "x")
            return made.write(made.row(*row, keep=keep, position=version))

        return made, write

    return make


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_another_spelling_is_written(pair, values: TypeValues) -> None:
    made, write = pair(values.sql)
    for version, literal in enumerate([text for both in values.equal_pairs for text in both], 1):
        assert write(literal, version) == 1
        query = f"SELECT v::text, %s::{values.sql}::text FROM {made.table.sql_name}"
        stored, wanted = made.scratch.admin.execute(query.encode(), (literal,)).fetchone()
        assert stored == wanted


@pytest.mark.parametrize(("type_", "one", "other"), UNEQUAL_TYPES, ids=case_id)
def test_what_the_column_stores_alike_is_written_once(written: Make, type_, one, other) -> None:
    made = written(f"id int PRIMARY KEY, v {type_}, other text")
    assert made.write(made.row(1, one, "x", position=1)) == 1
    for position, literal in enumerate([other, one], 2):
        assert made.write(made.row(1, literal, "x", position=position)) == 0
        row = made.row(1, literal, ABSENT, keep=1 << 2, position=position)
        assert made.write(row) == 0
        mark = SetColumns({"v": literal})
        assert made.write(made.gone(1, action=mark, position=position)) == 0


def test_patch_refuses_too_long_value(written: Make) -> None:
    """Cut off, it would equal the stored one and pass for unchanged."""
    made = written("id int PRIMARY KEY, v varchar(3), other text")
    made.write(made.row(1, "abc", "x"))
    with pytest.raises(Exception, match="too long"):
        made.write(made.row(1, "abcd", ABSENT, keep=1 << 2, position=2))


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_a_mark_of_another_spelling_is_written(written: Make, values: TypeValues) -> None:
    made = written(f"id int PRIMARY KEY, v {values.sql}")
    ((one, other), *_) = values.equal_pairs
    made.write(made.row(1, one))
    assert made.write(made.gone(1, action=SetColumns({"v": other}), position=2)) == 1
    assert made.write(made.gone(1, action=SetColumns({"v": other}), position=3)) == 0


@pytest.mark.parametrize("values", PAIRS, ids=case_id)
def test_a_derived_row_of_another_spelling_is_written(written: Make, values: TypeValues) -> None:
    made = written(
        f"id int PRIMARY KEY, v {values.sql}",
        Column("id", type="integer"),
        Column("v", type=values.sql),
        name=f"c_{values.name}",
        derived=Derived(key=("id",), group=("id",), select="SELECT id, v FROM {candidates} c"),
    )
    ((one, other), *_) = values.equal_pairs
    assert [made.write(made.row(1, text, position=at)) for at, text in enumerate([one, other])] == [
        1,
        1,
    ]
    assert made.write(made.row(1, other, position=2)) == 0


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
"""Types, a value that Python cannot hold or PostgreSQL cannot compare, and an ordinary one."""


@pytest.mark.parametrize(("type_", "old", "new"), OLD_VALUES, ids=case_id)
@pytest.mark.parametrize("tie", Tie)
def test_conflict_is_found_whatever_old_value_is(
    written: Make, tie: Tie, type_: str, old: str, new: str
) -> None:
    made = written(
        f"id int PRIMARY KEY, v {type_}, at timestamp",
        source="smart_citizen.public.t",
        target="smart_warehouse.public.t",
        conflict=newest_wins("at"),
        conflict_detection=ConflictDetection(tie=tie),
        needs_before_image=True,
    )
    made.scratch.admin.execute("TRUNCATE sink.conflict")
    made.write(made.row(1, new, NOW))
    made.scratch.admin.execute(f"UPDATE {made.table.sql_name} SET v = %s".encode(), (old,))
    event = made.row(1, new, NOW, position=2)._replace(base=made.row(1, new, NOW).values)
    made.write(event._replace(base=made.row(1, None, NOW).values))
    kinds = made.scratch.admin.execute("SELECT conflict_type FROM sink.conflict")
    assert kinds.fetchall() == [("data_conflict",)]
    ((found,),) = made.rows("v::text")
    ((wanted,),) = made.scratch.admin.execute(
        f"SELECT %s::{type_}::text".encode(), (new if tie is Tie.SOURCE else old,)
    ).fetchall()
    assert found == wanted


@pytest.mark.parametrize(
    ("type_", "later", "earlier_by_a_little"),
    [
        ("timestamp(0)", "2024-01-01 10:00:00.9", "2024-01-01 10:00:00.6"),
        ("timestamptz(0)", "2024-01-01 10:00:00.9+00", "2024-01-01 10:00:00.6+00"),
        ("numeric(6,1)", "1.19", "1.16"),
        ("numeric(6,0)", "1.9", "1.6"),
        ("date", "2024-01-02", "2024-01-02"),
    ],
)
def test_versions_are_compared_as_they_are_stored(
    written: Make, type_: str, later: str, earlier_by_a_little: str
) -> None:
    """The stored version is rounded up, so that what follows it in truth looks older."""
    made = written(
        f"id int PRIMARY KEY, v text, at {type_}",
        conflict=merge_changed("at"),
        needs_before_image=True,
    )
    made.write(made.row(1, "first", earlier_by_a_little, position=1))
    assert made.write(made.row(1, "second", later, position=2)) == 1
    assert made.rows("v") == [("second",)]


ORDERED = ["smallint", "int", "bigint", "numeric(9,3)", "date", "timestamp", "timestamptz(0)"]
UNORDERED = ["text", "varchar(9)", "uuid", "json", "boolean", "time", "interval", "bytea", "int[]"]


@pytest.mark.parametrize("strategy", [newest_wins("at"), merge_changed("at")], ids=case_id)
@pytest.mark.parametrize("type_", [*ORDERED, *UNORDERED])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_version_is_of_type_that_grows_with_time(scratch, strategy, type_: str, depth: int) -> None:
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
    faults = [fault.problem for fault in version_faults(mapping, table)]
    if type_ in ORDERED:
        assert faults == []
        return
    assert re.match(r"^\w+: column 'at' of north\.public\.t is of type ", faults[0])


def test_an_infinite_version_is_a_version(written: Make) -> None:
    made = written("id int PRIMARY KEY, v text, at timestamp", conflict=newest_wins("at"))
    made.write(made.row(1, "last", "infinity"))
    assert made.write(made.row(1, "late", NOW + timedelta(days=1), position=2)) == 0
    assert made.write(made.row(1, "later", datetime.max, position=2)) == 0  # noqa: DTZ901
