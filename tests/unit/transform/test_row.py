"""The compiled step from a source row to a target row."""

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
from sink_runner.transform.row import RowPlan, SourceColumn


def target(column: Column, type_: str = "text", mask: Callable | None = None) -> TargetColumn:
    stage = CatalogColumn(column.name, type_, nullable=True).stage_type
    return TargetColumn(column, type_, stage, mask)


def plan(*columns: TargetColumn, **kinds: Kind | tuple[Kind, str]) -> RowPlan:
    """A plan over source columns a, b, ... of these kinds, text where none is given."""
    names = dict.fromkeys(name for column in columns for name in column.column.sources)
    source = []
    for name in names:
        kind = kinds.get(name, Kind.STRING)
        source.append(SourceColumn(name, *kind if isinstance(kind, tuple) else (kind,)))
    return RowPlan(columns, source)


def both(made: RowPlan, *values: Any) -> Any:
    """The one value that `flat` gives, and `typed` and `finish` give as well."""
    (flat,) = made.flat(values)
    (halves,) = made.finish(made.typed(values))
    assert (flat, type(flat)) == (halves, type(halves)) or flat != flat  # noqa: PLR0124 - NaN
    return flat


class TestSteps:
    def test_a_source_of_another_name(self) -> None:
        assert both(plan(target(Column("a", "b"))), "x") == "x"

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            (("x", "y", "z"), "x"),
            ((None, "y", "z"), "y"),
            ((None, None, None), None),
            (("",) * 3, ""),
        ],
    )
    def test_the_first_that_is_not_null(self, values: tuple, found: str | None) -> None:
        assert both(plan(target(Column("a", first_of("a", "b", "c")))), *values) == found

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            (("5", "x"), (5, "x")),
            (("5", None), (5, None)),
            ((None, ""), (None, "")),
            ((None, None), None),
        ],
    )
    def test_several_columns_are_a_python_tuple(self, values: tuple, found: tuple | None) -> None:
        column = Column("a", all_of("a", "b"), lookup=Lookup("%s %s", "n"))
        made = plan(target(column), a=(Kind.STRING, "numeric"))
        assert both(made, *values) == found
        assert made.partial((ABSENT, "x")) == (ABSENT,)

    def test_a_converter_has_the_tuple(self) -> None:
        column = Column("a", all_of("a", "b"), convert=" ".join)
        assert both(plan(target(column)), "x", "y") == "x y"

    @pytest.mark.parametrize(
        ("value", "type_", "found"),
        [("x", "text", "x"), (True, "text", "true"), (7, "integer", 7), (None, "text", None)],
    )
    def test_a_constant(self, value: Any, type_: str, found: Any) -> None:
        assert both(plan(target(Column("a", Constant(value)), type_))) == found

    def test_a_default_stands_for_null_only(self) -> None:
        made = plan(target(Column("a", default="d")))
        assert [both(made, value) for value in (None, "", "x")] == ["d", "", "x"]

    def test_convert_gets_python_value_never_null(self) -> None:
        made = plan(target(Column("a", convert=lambda day: day.year)), a=Kind.DATE)
        assert [both(made, value) for value in ("2026-01-15Z", None)] == ["2026", None]

    def test_default_comes_after_convert_and_is_not_converted(self) -> None:
        made = plan(target(Column("a", convert=lambda _: None, default="d")))
        assert both(made, "x") == "d"
        made = plan(target(Column("a", convert=str.upper, default="d")))
        assert both(made, None) == "d"

    def test_mask_comes_after_default_and_before_cut(self) -> None:
        column = Column("a", default="secret", max_length=4)
        made = plan(target(column, mask=lambda text: f"<{text}>" if text else None))
        assert both(made, None) == "<sec"

    def test_length_is_counted_in_characters(self) -> None:
        made = plan(target(Column("a", max_length=2)))
        assert [both(made, value) for value in ("अआइ", "x", None)] == ["अआ", "x", None]

    def test_null_is_refused_where_it_is_required(self) -> None:
        made = plan(target(Column("a", required=True)))
        assert both(made, "x") == "x"
        for function in (made.flat, made.finish):
            with pytest.raises(EventError, match="'a'"):
                function((None,))

    def test_what_a_mask_makes_null_is_null(self) -> None:
        made = plan(target(Column("a", required=True), mask=lambda _: None))
        with pytest.raises(EventError, match="'a'"):
            made.flat(("x",))

    def test_lookup_takes_converted_value_as_it_is(self) -> None:
        column = Column("a", convert=str.lower, default="d", lookup=Lookup("%s", "n"))
        made = plan(target(column, "integer"))
        assert [both(made, value) for value in ("X", None)] == ["x", "d"]

    def test_the_time_of_the_write_does_not_travel(self) -> None:
        assert staged([Column("a"), Column("b", SyncTime())]) == (Column("a"),)

    @given(st.lists(st.none() | st.text(max_size=5), min_size=3, max_size=3))
    def test_flat_is_its_two_halves(self, values: list[str | None]) -> None:
        made = plan(
            target(Column("a", default="x", max_length=3)),
            target(Column("b", first_of("b", "c"), convert=str.upper)),
            target(Column("c"), mask=lambda text: None if text is None else text[::-1]),
        )
        assert made.flat(values) == made.finish(made.typed(values))


class TestPartial:
    @pytest.fixture
    def made(self) -> RowPlan:
        return plan(
            target(Column("a", required=True), mask=lambda text: f"<{text}>"),
            target(Column("b", first_of("b", "c"))),
            target(Column("c", default="d")),
            target(Column("d", Constant("k"))),
        )

    def test_what_needs_an_absent_value_is_absent(self, made: RowPlan) -> None:
        assert made.partial(("x", "y", ABSENT)) == ("<x>", ABSENT, ABSENT, "k")
        assert made.partial((ABSENT, "y", None)) == (ABSENT, "y", "d", "k")

    @pytest.mark.parametrize(
        "values", [("x", "y", ABSENT), (ABSENT, None, "z"), (ABSENT,) * 3, ("x", "y", "z")]
    )
    def test_its_two_halves_come_to_the_same(self, made: RowPlan, values: tuple) -> None:
        for _ in range(2):
            assert made.partial(values) == made.partial_finish(made.partial_typed(values))


NUMERIC = (Kind.STRING, "numeric")
FITS = [
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
    @pytest.mark.parametrize(("kind", "type_", "value", "found"), FITS)
    def test_a_value_fits_its_column(self, kind: Any, type_: str, value: Any, found: Any) -> None:
        made = plan(target(Column("a"), type_), a=kind)
        assert repr(both(made, value)) == repr(found)
        assert both(made, None) is None

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
    def test_value_that_does_not_fit_is_refused(self, kind: Any, type_: str, value: Any) -> None:
        made = plan(target(Column("a"), type_), a=kind)
        for function in (made.flat, lambda v: made.finish(made.typed(v))):
            with pytest.raises(ValueRefusedError, match=r"column 'a': .*(whole|boolean|float)"):
                function((value,))

    def test_form_that_debezium_should_not_use_is_refused(self) -> None:
        for type_ in ("text", "integer"):
            with pytest.raises(DecodeError):
                plan(target(Column("a"), type_), a=Kind.OPAQUE).flat((5,))

    @pytest.mark.parametrize(
        ("kind", "value", "found"),
        [
            (Kind.DATE, "2026-01-15Z", date(2026, 1, 15)),
            (Kind.TIMESTAMP, "2026-01-15T12:00:00Z", datetime(2026, 1, 15, 12)),  # noqa: DTZ001
            (Kind.TIMESTAMP_TZ, "2026-01-15T12:00:00Z", datetime(2026, 1, 15, 12, tzinfo=UTC)),
            (Kind.TIME, "12:30:00Z", time(12, 30)),
            (Kind.DECIMAL, "NAN", Decimal("NaN")),
            (NUMERIC, "1.50", Decimal("1.50")),
        ],
    )
    def test_hooks_get_python_values(self, kind: Any, value: str, found: Any) -> None:
        (typed,) = plan(target(Column("a")), a=kind).typed((value,))
        assert repr(typed) == repr(found)

    @pytest.mark.parametrize(
        ("kind", "value", "found"),
        [
            (Kind.DATE, "infinity", date.max),
            (Kind.TIMESTAMP, "-infinity", datetime.min),  # noqa: DTZ901 - a column without zone
            (Kind.TIMESTAMP_TZ, "infinity", datetime.max.replace(tzinfo=UTC)),
        ],
    )
    def test_infinity_passes_a_hook_unchanged(self, kind: Any, value: str, found: Any) -> None:
        """The last day of Python's calendar is another value, and is written as itself."""
        made = plan(target(Column("a"), kind), a=kind)
        assert made.typed((value,)) == (found,)
        assert made.finish(made.typed((value,))) == (value,)
        assert made.finish((found,)) == (found.isoformat(),)


def test_refused_value_keeps_its_text_in_the_log() -> None:
    """The function that raises it is made at start, and is still one of ours."""
    made = plan(target(Column("a"), "integer"), a=Kind.LONG)
    with pytest.raises(ValueRefusedError) as caught:
        made.flat((3_000_000_000,))
    assert text_of(caught.value).startswith("column 'a': ")
