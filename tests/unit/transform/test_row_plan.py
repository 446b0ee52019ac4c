"""Compiled plans that convert a source row to a target row."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.error_text import text_of
from sink_runner.errors import DecodeError, EventError, ValueRefusedError
from sink_runner.model.envelope import Kind
from sink_runner.plugin import ABSENT, Column, Constant, Lookup, SyncTime, all_of, first_of
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.postgres.target_column import TargetColumn, staged
from sink_runner.transform.row_plan import RowPlan, SourceColumn


def target(column: Column, type_: str = "text", mask: Callable | None = None) -> TargetColumn:
    stage = CatalogColumn(column.name, type_, nullable=True).stage_type
    return TargetColumn(column, type_, stage, mask)


def plan(*columns: TargetColumn, **kinds: Kind | tuple[Kind, str]) -> RowPlan:
    """Return a plan whose source columns have the given kinds; text is the default."""
    names = dict.fromkeys(name for column in columns for name in column.column.sources)
    source = []
    for name in names:
        kind = kinds.get(name, Kind.STRING)
        source.append(SourceColumn(name, *kind if isinstance(kind, tuple) else (kind,)))
    return RowPlan(columns, source)


def convert(row_plan: RowPlan, *values: Any) -> Any:
    """Convert a row of one column by `flat`, and check that `typed` and `finish` agree."""
    (flat,) = row_plan.flat(values)
    (finished,) = row_plan.finish(row_plan.typed(values))
    assert (flat, type(flat)) == (finished, type(finished)) or flat != flat  # noqa: PLR0124 - NaN
    return flat


class TestSteps:
    def test_source_column_may_have_another_name(self) -> None:
        assert convert(plan(target(Column("a", "b"))), "x") == "x"

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (("x", "y", "z"), "x"),
            ((None, "y", "z"), "y"),
            ((None, None, None), None),
            (("",) * 3, ""),
        ],
    )
    def test_first_of_takes_first_value_not_null(self, values: tuple, expected: str | None) -> None:
        assert convert(plan(target(Column("a", first_of("a", "b", "c")))), *values) == expected

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (("5", "x"), (5, "x")),
            (("5", None), (5, None)),
            ((None, ""), (None, "")),
            ((None, None), None),
        ],
    )
    def test_all_of_is_tuple_of_python_values(self, values: tuple, expected: tuple | None) -> None:
        column = Column("a", all_of("a", "b"), lookup=Lookup("%s %s", "n"))
        row_plan = plan(target(column), a=(Kind.STRING, "numeric"))
        assert convert(row_plan, *values) == expected
        assert row_plan.partial((ABSENT, "x")) == (ABSENT,)

    def test_converter_of_all_of_gets_tuple(self) -> None:
        column = Column("a", all_of("a", "b"), convert=" ".join)
        assert convert(plan(target(column)), "x", "y") == "x y"

    @pytest.mark.parametrize(
        ("value", "type_", "expected"),
        [("x", "text", "x"), (True, "text", "true"), (7, "integer", 7), (None, "text", None)],
    )
    def test_constant_is_encoded_for_its_type(self, value: Any, type_: str, expected: Any) -> None:
        assert convert(plan(target(Column("a", Constant(value)), type_))) == expected

    def test_default_replaces_null_only(self) -> None:
        row_plan = plan(target(Column("a", default="d")))
        assert [convert(row_plan, value) for value in (None, "", "x")] == ["d", "", "x"]

    def test_convert_gets_python_value_never_null(self) -> None:
        row_plan = plan(target(Column("a", convert=lambda day: day.year)), a=Kind.DATE)
        assert [convert(row_plan, value) for value in ("2026-01-15Z", None)] == ["2026", None]

    def test_default_is_applied_after_convert(self) -> None:
        row_plan = plan(target(Column("a", convert=lambda _: None, default="d")))
        assert convert(row_plan, "x") == "d"
        row_plan = plan(target(Column("a", convert=str.upper, default="d")))
        assert convert(row_plan, None) == "d"

    def test_mask_comes_after_default_and_before_cut(self) -> None:
        column = Column("a", default="secret", max_length=4)
        row_plan = plan(target(column, mask=lambda text: f"<{text}>" if text else None))
        assert convert(row_plan, None) == "<sec"

    def test_length_is_counted_in_characters(self) -> None:
        row_plan = plan(target(Column("a", max_length=2)))
        assert [convert(row_plan, value) for value in ("अआइ", "x", None)] == ["अआ", "x", None]

    def test_null_of_required_column_is_refused(self) -> None:
        row_plan = plan(target(Column("a", required=True)))
        assert convert(row_plan, "x") == "x"
        for function in (row_plan.flat, row_plan.finish):
            with pytest.raises(EventError, match="'a'"):
                function((None,))

    def test_required_column_masked_as_null_is_refused(self) -> None:
        row_plan = plan(target(Column("a", required=True), mask=lambda _: None))
        with pytest.raises(EventError, match="'a'"):
            row_plan.flat(("x",))

    def test_lookup_key_is_the_converted_value(self) -> None:
        column = Column("a", convert=str.lower, default="d", lookup=Lookup("%s", "n"))
        row_plan = plan(target(column, "integer"))
        assert [convert(row_plan, value) for value in ("X", None)] == ["x", "d"]

    def test_sync_time_is_not_staged(self) -> None:
        assert staged([Column("a"), Column("b", SyncTime())]) == (Column("a"),)

    @given(st.lists(st.none() | st.text(max_size=5), min_size=3, max_size=3))
    def test_flat_equals_typed_and_finish(self, values: list[str | None]) -> None:
        row_plan = plan(
            target(Column("a", default="x", max_length=3)),
            target(Column("b", first_of("b", "c"), convert=str.upper)),
            target(Column("c"), mask=lambda text: None if text is None else text[::-1]),
        )
        assert row_plan.flat(values) == row_plan.finish(row_plan.typed(values))


class TestPartial:
    @pytest.fixture
    def row_plan(self) -> RowPlan:
        return plan(
            target(Column("a", required=True), mask=lambda text: f"<{text}>"),
            target(Column("b", first_of("b", "c"))),
            target(Column("c", default="d")),
            target(Column("d", Constant("k"))),
        )

    def test_column_of_absent_source_is_absent(self, row_plan: RowPlan) -> None:
        assert row_plan.partial(("x", "y", ABSENT)) == ("<x>", ABSENT, ABSENT, "k")
        assert row_plan.partial((ABSENT, "y", None)) == (ABSENT, "y", "d", "k")

    @pytest.mark.parametrize(
        "values", [("x", "y", ABSENT), (ABSENT, None, "z"), (ABSENT,) * 3, ("x", "y", "z")]
    )
    def test_partial_equals_partial_typed_and_finish(
        self, row_plan: RowPlan, values: tuple
    ) -> None:
        for _ in range(2):
            assert row_plan.partial(values) == row_plan.partial_finish(
                row_plan.partial_typed(values)
            )


NUMERIC = (Kind.STRING, "numeric")
CONVERSIONS = [
    (Kind.STRING, "text", "x", "x"),
    (Kind.INT, "text", 5, "5"),
    (Kind.INT, "integer", 5, 5),
    (Kind.LONG, "smallint", 5, 5),
    (Kind.INT, "numeric", 5, "5"),
    (Kind.INT, "double precision", 5, 5.0),
    (Kind.INT, "boolean", 1, True),
    (Kind.STRING, "integer", "5", 5),
    (Kind.STRING, "boolean", "false", False),
    (Kind.STRING, "boolean", "T", True),
    (Kind.BOOLEAN, "boolean", True, True),
    (Kind.BOOLEAN, "text", True, "true"),
    (Kind.BOOLEAN, "integer", True, 1),
    (Kind.DOUBLE, "double precision", 0.1, 0.1),
    (Kind.DOUBLE, "integer", 2.0, 2),
    (Kind.DOUBLE, "numeric", 0.1, "0.1"),
    (Kind.DECIMAL, "numeric", "1.50", "1.50"),
    (Kind.DECIMAL, "numeric", "NAN", "NaN"),
    (Kind.DECIMAL, "double precision", "POSITIVE_INFINITY", math.inf),
    (Kind.DECIMAL, "integer", "7", 7),
    (NUMERIC, "bigint", "7.00", 7),
    (NUMERIC, "double precision", "1.5", 1.5),
    (Kind.JSON, "jsonb", '{"a": 1}', '{"a": 1}'),
    (Kind.UUID, "uuid", "0-0", "0-0"),
    ((Kind.TIME, "time"), "interval", "12:30:00Z", "12:30:00"),
    (Kind.ARRAY, "text[]", ["a", None, 'q"'], '{"a",NULL,"q\\""}'),
    (Kind.ARRAY, "integer[]", [1, 2], '{"1","2"}'),
    (Kind.ARRAY, "jsonb", ["a", 1], '["a", 1]'),
    (Kind.MAP, "jsonb", {"a": None}, '{"a": null}'),
    (Kind.BYTES, "bytea", b"\x00\xff", "\\x00ff"),
]


class TestTypes:
    @pytest.mark.parametrize(("kind", "type_", "value", "expected"), CONVERSIONS)
    def test_value_is_converted_to_column_type(
        self, kind: Any, type_: str, value: Any, expected: Any
    ) -> None:
        row_plan = plan(target(Column("a"), type_), a=kind)
        assert repr(convert(row_plan, value)) == repr(expected)
        assert convert(row_plan, None) is None

    @pytest.mark.parametrize(
        ("kind", "type_", "value"),
        [
            (Kind.DOUBLE, "integer", 1.5),
            (NUMERIC, "integer", "1.5"),
            (Kind.DECIMAL, "integer", "NAN"),
            (Kind.STRING, "integer", "x"),
            (Kind.STRING, "boolean", "maybe"),
            (Kind.STRING, "double precision", "x"),
        ],
    )
    def test_value_of_another_type_is_refused(self, kind: Any, type_: str, value: Any) -> None:
        row_plan = plan(target(Column("a"), type_), a=kind)
        for function in (row_plan.flat, lambda v: row_plan.finish(row_plan.typed(v))):
            with pytest.raises(ValueRefusedError, match=r"column 'a': .*(whole|boolean|float)"):
                function((value,))

    def test_unsupported_debezium_type_is_refused(self) -> None:
        for type_ in ("text", "integer"):
            with pytest.raises(DecodeError):
                plan(target(Column("a"), type_), a=Kind.OPAQUE).flat((5,))

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            (Kind.DATE, "2026-01-15Z", date(2026, 1, 15)),
            (Kind.TIMESTAMP, "2026-01-15T12:00:00Z", datetime(2026, 1, 15, 12)),  # noqa: DTZ001
            (Kind.TIMESTAMP_TZ, "2026-01-15T12:00:00Z", datetime(2026, 1, 15, 12, tzinfo=UTC)),
            (Kind.TIME, "12:30:00Z", time(12, 30)),
            (Kind.DECIMAL, "NAN", Decimal("NaN")),
            (NUMERIC, "1.50", Decimal("1.50")),
        ],
    )
    def test_hooks_get_python_values(self, kind: Any, value: str, expected: Any) -> None:
        (typed,) = plan(target(Column("a")), a=kind).typed((value,))
        assert repr(typed) == repr(expected)

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            (Kind.DATE, "infinity", date.max),
            (Kind.TIMESTAMP, "-infinity", datetime.min),  # noqa: DTZ901 - a column without zone
            (Kind.TIMESTAMP_TZ, "infinity", datetime.max.replace(tzinfo=UTC)),
        ],
    )
    def test_infinity_passes_hook_unchanged(self, kind: Any, value: str, expected: Any) -> None:
        """Python has no infinite dates; a finite date of the same value stays finite."""
        row_plan = plan(target(Column("a"), kind), a=kind)
        assert row_plan.typed((value,)) == (expected,)
        assert row_plan.finish(row_plan.typed((value,))) == (value,)
        assert row_plan.finish((expected,)) == (expected.isoformat(),)


def test_text_of_refused_value_error_is_kept() -> None:
    """The function that raises it is compiled at start, and counts as code of the runner."""
    row_plan = plan(target(Column("a"), "integer"), a=Kind.LONG)
    with pytest.raises(ValueRefusedError) as caught:
        row_plan.flat((3_000_000_000,))
    assert text_of(caught.value).startswith("column 'a': ")
