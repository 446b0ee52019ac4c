"""The SQL of a write for every kind of type, key and name."""

import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from psycopg import errors

from sink_runner.errors import ConfigError
from sink_runner.plugin import ABSENT, Column, Delete, SetColumns, merge_changed, newest_wins

pytestmark = pytest.mark.postgres

Make = Callable[..., Any]
NUMBER = uuid.UUID(int=7)
NAIVE = datetime(2026, 1, 15, 12, 0, 0, 123456)  # noqa: DTZ001 - a column without zone
TYPES = [
    ("text", "a", "b"),
    ("varchar(9)", "a", "b"),
    ("char(3)", "a", "b"),
    ("smallint", 1, 2),
    ("integer", -(2**31), 2),
    ("bigint", 2**63 - 1, 2),
    ("boolean", True, False),
    ("real", 1.5, 2.5),
    ("double precision", 0.1, math.inf),
    ("numeric", Decimal("12345678901234567890.123"), Decimal("NaN")),
    ("numeric(9,2)", Decimal("1.25"), Decimal("-1.00")),
    ("date", date(2026, 1, 15), date(1, 1, 1)),
    ("time", time(12, 30), time(0)),
    ("timestamp", NAIVE, NAIVE.replace(year=1)),
    ("timestamptz", NAIVE.replace(tzinfo=UTC), NAIVE.replace(tzinfo=UTC, year=2030)),
    ("uuid", NUMBER, uuid.UUID(int=8)),
    ("json", {"a": [1, None]}, {"a": "\u0905"}),
    ("jsonb", {"a": [1, None]}, {"a": 'quo"te'}),
    ("text[]", ["a", None, 'quo"te', "back\\slash", "", "NULL", "{,}"], []),
    ("integer[]", [1, None], [2]),
    ("bytea", b"\x00\xff", b""),
    ("xml", "<a>1</a>", "<a>2</a>"),
    ("point", "(1,2)", "(3,4)"),
]
IDS = [type_ for type_, *_ in TYPES]


def stripped(value: Any) -> Any:
    return value.rstrip() if isinstance(value, str) else value


@pytest.mark.parametrize(("type_", "first", "second"), TYPES, ids=IDS)
class TestTypes:
    def test_value_is_stored_unchanged(
        self, written: Make, type_: str, first: Any, second: Any
    ) -> None:
        target = written(f"id int PRIMARY KEY, v {type_}")
        target.write(target.row(1, first), target.row(2, second), target.row(3, None))
        found = [stripped(value) for _, value in target.rows()]
        assert str(found) == str([first, second, None])

    def test_only_different_value_is_a_change(
        self, written: Make, type_: str, first: Any, second: Any
    ) -> None:
        target = written(f"id int PRIMARY KEY, v {type_}")
        target.write(target.row(1, first))
        assert target.write(target.row(1, first)) == 0
        assert target.write(target.row(1, second)) == 1
        assert target.write(target.row(1, None)) == 1

    def test_merge_changes_value(self, written: Make, type_: str, first: Any, second: Any) -> None:
        target = written(
            f"id int PRIMARY KEY, v {type_}, n int",
            conflict=merge_changed("n"),
            needs_before_image=True,
        )
        target.write(target.row(1, first, 1))
        assert target.write(target.row(1, first, 1)) == 0
        assert target.write(target.row(1, second, 2)) == 1
        ((_, found),) = target.rows("id, v")
        assert str(stripped(found)) == str(second)


KEYS = [
    ("text", "a", "b"),
    ("varchar(9)", "a", "b"),
    ("char(5)", "abc", "abd"),
    ("bit(3)", "101", "110"),
    ("bigint", 1, 2),
    ("boolean", True, False),
    ("numeric", Decimal("1.5"), Decimal(2)),
    ("date", date(2026, 1, 15), date(2026, 1, 16)),
    ("timestamptz", NAIVE.replace(tzinfo=UTC), NAIVE.replace(tzinfo=UTC, year=2030)),
    ("uuid", NUMBER, uuid.UUID(int=8)),
]


@pytest.mark.parametrize(("type_", "one", "two"), KEYS, ids=[type_ for type_, *_ in KEYS])
class TestKeys:
    def test_row_is_found_by_key(self, written: Make, type_: str, one: Any, two: Any) -> None:
        target = written(f"id {type_} PRIMARY KEY, v text, w text")
        rows = [target.row(key, "old", "w", position=1) for key in (one, two)]
        target.write(*rows)
        target.write(target.row(one, "new", ABSENT, keep=1 << 2))
        target.write(target.gone(rows[1].key[0], action=SetColumns({"v": "marked"})))
        assert sorted(target.rows("v, w")) == [("marked", "w"), ("new", "w")]
        assert target.write(target.gone(rows[0].key[0], position=5)) == 1
        assert target.rows("v") == [("marked",)]

    def test_deletion_leaves_tombstone(self, written: Make, type_: str, one: Any, two: Any) -> None:
        target = written(f"id {type_} PRIMARY KEY, v text")
        rows = [target.row(key, "v", position=3) for key in (one, two)]
        target.write(target.gone(rows[0].key[0], position=4))
        target.write(*rows)
        assert len(target.rows()) == 1


class TestCompositeKeys:
    @pytest.fixture
    def target(self, written: Make) -> Any:
        ddl = "v text, day date, id int, PRIMARY KEY (id, day)"
        return written(ddl, key=("id", "day"), conflict=newest_wins("v"))

    def test_all_key_columns_identify_row(self, target: Any) -> None:
        target.write(*(target.row("a", date(2026, 1, d), i) for d in (1, 2) for i in (1, 2)))
        target.write(target.row("b", date(2026, 1, 2), 1))
        target.write(target.gone(2, "2026-01-01", action=Delete()))
        assert sorted(target.rows("id, day::text, v")) == [
            (1, "2026-01-01", "a"),
            (1, "2026-01-02", "b"),
            (2, "2026-01-02", "a"),
        ]


SPECIAL_NAMES = [
    'quo"te',
    "semi;colon",
    "Mixed Case",
    "select",
    "per.iod",
    "अ",
    "back\\slash",
    "sin'gle",
]


@pytest.mark.parametrize("name", SPECIAL_NAMES)
class TestNames:
    def test_column_name_is_quoted(self, written: Make, name: str) -> None:
        quoted = '"' + name.replace('"', '""') + '"'
        target = written(f"id int PRIMARY KEY, {quoted} text")
        target.write(target.row(1, "a"), target.gone(2))
        target.write(target.row(1, "b"), target.gone(1, action=SetColumns({name: "marked"})))
        assert target.rows() == [(1, "marked")]

    def test_table_and_key_names_are_quoted(self, written: Make, name: str) -> None:
        quoted = '"' + name.replace('"', '""') + '"'
        target = written(f"{quoted} int PRIMARY KEY, v text", name=name, key=(name,))
        target.write(target.row(1, "a"), target.row(2, "a"))
        target.write(target.row(1, "b"), target.gone(2))
        assert target.rows() == [(1, "b")]


def test_name_with_percent_sign_is_refused(written: Make) -> None:
    target = written('id int PRIMARY KEY, "pct%s" text', Column("id"))
    assert target.write(target.row(1)) == 1
    with pytest.raises(ConfigError, match="%"):
        written('id int PRIMARY KEY, "pct%s" text', name="other")


def test_table_may_have_only_key(written: Make) -> None:
    target = written("id int PRIMARY KEY")
    assert target.write(target.row(1)) == 1
    assert target.write(target.row(1)) == 0


def test_value_out_of_range_is_refused(written: Make) -> None:
    target = written("id int PRIMARY KEY, v numeric(3,1)")
    with pytest.raises(errors.NumericValueOutOfRange):
        target.write(target.row(1, Decimal(1000)))


def test_json_keeps_its_text(written: Make) -> None:
    target = written("id int PRIMARY KEY, v json", Column("id"), Column("v"))
    text = json.dumps({"b": 1, "a": 2})
    target.write(target.row(1, text))
    assert target.rows("id, v::text") == [(1, text)]
