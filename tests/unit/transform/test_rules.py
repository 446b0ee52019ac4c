"""A row that breaks a rule is never written, and no error contains its value."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.error_text import text_of, trace
from sink_runner.errors import EventError, QualityError, RetriableError, StepError
from sink_runner.model.envelope import Kind
from sink_runner.model.quality_rules import check_row
from sink_runner.plugin import ABSENT, Column, Delete, Lookup, Rule, first_of, not_before
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.postgres.target_column import TargetColumn
from sink_runner.testing import Harness, create, delete, update
from sink_runner.transform.incoming import SourceRow
from sink_runner.transform.row_plan import RowPlan, SourceColumn

NUMERIC = (Kind.STRING, "numeric")
SECRET = "Zarathustra-17"
SCORE = Column("a", minimum=0, maximum=1)
LEVEL = Column("a", one_of=frozenset({"LOW", "HIGH"}))
DAY = datetime(2026, 1, 15)  # noqa: DTZ001 - a column without zone


def plan(
    column: Column,
    kind: tuple[Kind, str | None] = (Kind.STRING, None),
    type_: str = "text",
    mask: Callable | None = None,
    **options: Any,
) -> RowPlan:
    stage = CatalogColumn(column.name, type_, nullable=True).stage_type
    source = [SourceColumn(name, *kind) for name in column.sources]
    return RowPlan([TargetColumn(column, type_, stage, mask)], source, **options)


def conversions(row_plan: RowPlan) -> list[Callable]:
    """Return every function that converts a source row to a target row."""
    return [
        row_plan.flat,
        row_plan.partial,
        lambda row: row_plan.finish(row_plan.typed(row)),
        lambda row: row_plan.partial_finish(row_plan.partial_typed(row)),
    ]


def value_or_rule(convert: Callable, *values: Any) -> Any:
    """Return the value that is written, or the rule that it breaks and the column."""
    try:
        (value,) = convert(values)
    except QualityError as error:
        return error.rule, error.column
    return value


def outcome(row_plan: RowPlan, *values: Any) -> Any:
    results = [value_or_rule(convert, *values) for convert in conversions(row_plan)]
    assert results == [results[0]] * len(results)
    return results[0]


class TestColumns:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("0", "0"),
            ("1.0000", "1.0000"),
            ("-0.0001", ("minimum", "a")),
            ("1.0001", ("maximum", "a")),
            ("NAN", ("minimum", "a")),
            ("NEGATIVE_INFINITY", ("minimum", "a")),
            ("POSITIVE_INFINITY", ("maximum", "a")),
            (None, None),
        ],
    )
    def test_numbers_are_compared_as_numbers(self, value: str | None, expected: Any) -> None:
        assert outcome(plan(SCORE, NUMERIC, "numeric"), value) == expected

    @pytest.mark.parametrize("value", [math.nan, 1.5, -0.1])
    def test_double_nan_breaks_bound(self, value: float) -> None:
        assert isinstance(outcome(plan(SCORE, (Kind.DOUBLE, None)), value), tuple)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [("LOW", "LOW"), ("low", ("one_of", "a")), ("", ("one_of", "a")), (None, None)],
    )
    def test_value_outside_one_of_is_refused(self, value: Any, expected: Any) -> None:
        assert outcome(plan(LEVEL), value) == expected

    def test_times_are_compared_as_times(self) -> None:
        row_plan = plan(Column("a", minimum=DAY), (Kind.TIMESTAMP, None), "timestamp")
        for convert in conversions(row_plan):
            assert isinstance(value_or_rule(convert, "2026-01-15T00:00:00Z"), str)
            assert value_or_rule(convert, "2026-01-14T23:59:59Z") == ("minimum", "a")

    @pytest.mark.parametrize(
        ("column", "kind", "value"),
        [
            (SCORE, (Kind.STRING, None), SECRET),
            (Column("a", minimum=DAY.replace(tzinfo=UTC)), (Kind.TIMESTAMP, None), "2027-01-15"),
            (LEVEL, (Kind.ARRAY, None), [SECRET]),
        ],
    )
    def test_incomparable_value_is_refused(self, column: Column, kind: Any, value: Any) -> None:
        assert isinstance(outcome(plan(column, kind), value), tuple)

    def test_rule_sees_converted_value(self) -> None:
        row_plan = plan(Column("a", convert=str.upper, one_of=frozenset({"LOW"})))
        assert [outcome(row_plan, value) for value in ("low", "mid")] == ["LOW", ("one_of", "a")]

    def test_default_replaces_null_but_not_refused_value(self) -> None:
        row_plan = plan(Column("a", minimum=0, default=0), NUMERIC)
        assert [outcome(row_plan, value) for value in (None, "-1")] == ["0", ("minimum", "a")]

    def test_rule_sees_unmasked_value(self) -> None:
        row_plan = plan(LEVEL, mask=lambda text: text and "***")
        assert [outcome(row_plan, value) for value in ("LOW", "MID")] == ["***", ("one_of", "a")]

    def test_rule_sees_text_before_truncation(self) -> None:
        row_plan = plan(Column("a", one_of=frozenset({"LOW"}), max_length=3))
        assert outcome(row_plan, "LOWER") == ("one_of", "a")

    def test_rule_sees_lookup_key(self) -> None:
        row_plan = plan(Column("a", minimum=5, lookup=Lookup("%s", "n")), (Kind.INT, None))
        assert [outcome(row_plan, value) for value in (5, 4)] == [5, ("minimum", "a")]

    def test_rule_checks_first_value_not_null(self) -> None:
        row_plan = plan(Column("a", first_of("a", "b"), maximum=1), NUMERIC)
        assert [outcome(row_plan, *row) for row in (("1", "9"), (None, "9"))] == [
            "1",
            ("maximum", "a"),
        ]

    def test_rule_of_column_missing_in_event_is_skipped(self) -> None:
        row_plan = plan(Column("a", maximum=1, required=True), NUMERIC)
        assert value_or_rule(row_plan.partial, ABSENT) is ABSENT

    def test_null_breaks_rule_required(self) -> None:
        for lookup in (None, Lookup("%s", "n")):
            row_plan = plan(Column("a", required=True, lookup=lookup))
            assert [outcome(row_plan, value) for value in ("x", None)] == ["x", ("required", "a")]

    def test_rule_does_not_change_value(self) -> None:
        column = Column("a", minimum=datetime.min)  # noqa: DTZ901 - a column without zone
        row_plan = plan(column, (Kind.TIMESTAMP, None), "timestamp")
        assert row_plan.flat(("infinity",)) == ("infinity",)

    def test_value_of_hook_is_checked_again(self) -> None:
        row_plan = plan(SCORE, NUMERIC)
        assert value_or_rule(row_plan.finish, Decimal(2)) == ("maximum", "a")
        assert value_or_rule(row_plan.partial_finish, Decimal(2)) == ("maximum", "a")

    def test_before_image_is_not_checked(self) -> None:
        stage = TargetColumn(Column("a", minimum=0, maximum=1, required=True), "text", "text")
        row_plan = RowPlan([stage.unruled], [SourceColumn("a", *NUMERIC)])
        assert [outcome(row_plan, value) for value in ("7", "-7", None)] == ["7", "-7", None]


class TestDefaults:
    def defaulted_columns(self, column: Column, index: int, *rows: str | None) -> list[str]:
        columns: list[str] = []
        convert = conversions(plan(column, defaulted=columns.append))[index]
        for value in rows:
            convert((value,))
        return columns

    @pytest.mark.parametrize("index", range(4))
    @pytest.mark.parametrize("more", [{}, {"one_of": frozenset("dx")}, {"convert": str}])
    def test_each_default_is_reported_once(self, index: int, more: dict[str, Any]) -> None:
        column = Column("a", default="d", **more)
        assert self.defaulted_columns(column, index, None, "x", None) == ["a", "a"]


VALUES = st.one_of(
    st.decimals(), st.decimals(0, 1), st.integers(-2, 3).map(Decimal), st.just(Decimal("NaN"))
)


class TestGeneratedValues:
    @given(value=st.none() | VALUES, low=st.integers(-1, 1), span=st.integers(0, 2), data=st.data())
    def test_bounds_decide_what_is_written(
        self, value: Decimal | None, low: int, span: int, data: st.DataObject
    ) -> None:
        more = data.draw(st.sampled_from([{}, {"convert": lambda value: value}, {"default": low}]))
        row_plan = plan(Column("a", minimum=low, maximum=low + span, **more), NUMERIC, "numeric")
        text = None if value is None else f"{value:f}"  # without exponent, as Debezium does
        written = outcome(row_plan, text)
        if value is not None and (value.is_nan() or not low <= value <= low + span):
            assert isinstance(written, tuple)
        else:
            assert written is None or low <= Decimal(written) <= low + span
            assert written is not None or "default" not in more

    @given(value=st.text(max_size=3), allowed=st.frozensets(st.text(max_size=3), min_size=1))
    def test_only_value_of_one_of_is_written(self, value: str, allowed: frozenset[str]) -> None:
        written = outcome(plan(Column("a", one_of=allowed)), value)
        assert written == (value if value in allowed else ("one_of", "a"))

    @given(value=st.text("qwz#§", min_size=4) | st.lists(st.just(SECRET), min_size=1))
    def test_no_error_contains_value(self, value: Any) -> None:
        kind = (Kind.ARRAY if isinstance(value, list) else Kind.STRING, None)
        visible = SECRET if isinstance(value, list) else value
        for column in (LEVEL, SCORE, Column("a", maximum="#")):
            for convert in conversions(plan(column, kind)):
                with pytest.raises(QualityError) as caught:
                    convert((value,))
                error = caught.value
                assert visible not in "".join([str(error), text_of(error), repr(error.args)])
                assert not any(visible in line for line in trace(error))


class TestRows:
    def row(self, **values: Any) -> SourceRow:
        return SourceRow(list(values.values()), {name: (i, None) for i, name in enumerate(values)})

    def test_error_names_rule(self) -> None:
        rule = Rule("more", lambda row: row["a"] > row["b"], ("a", "b"))
        check_row([rule], self.row(a=2, b=1))
        with pytest.raises(QualityError) as caught:
            check_row([rule], self.row(a=1, b=1))
        assert (caught.value.rule, caught.value.column) == ("more", "")
        assert str(caught.value) == "the row breaks rule 'more'"

    def test_rule_of_missing_column_is_skipped(self) -> None:
        def check(_row: Any) -> bool:
            raise AssertionError

        check_row([Rule("never", check, ("a", "b"))], self.row(a=1, b=ABSENT))

    @pytest.mark.parametrize(
        ("later", "earlier", "valid"),
        [(2, 1, True), (1, 1, True), (1, 2, False), (None, 2, True), (1, None, True)],
    )
    def test_not_before_compares_two_times(self, later: Any, earlier: Any, *, valid: bool) -> None:
        check = partial(check_row, [not_before("a", "b")], self.row(a=later, b=earlier))
        if valid:
            check()
        else:
            with pytest.raises(QualityError, match="'a not before b'"):
                check()

    def test_rule_that_raises_is_named(self) -> None:
        with pytest.raises(StepError, match="rule 'odd' of plugin 'mapping' raised KeyError") as e:
            check_row([Rule("odd", lambda row: row[SECRET], ("a",))], self.row(a=1))
        assert SECRET not in text_of(e.value)

    def test_event_error_of_rule_passes_unchanged(self) -> None:
        def check(_row: Any) -> bool:
            raise EventError("mine")

        with pytest.raises(EventError, match="mine"):
            check_row([Rule("odd", check, ("a",))], self.row(a=1))


PEOPLE = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        {declared}
        columns=(Column("id", required=True), Column("score", default=5, minimum=0),
                 Column("at", required=True)),
    )
"""
MERGED = 'conflict=merge_changed("at"), needs_before_image=True,'
WITH_RULE = """
    conflict=source_wins(), extra_columns=("state",),
    rules=(Rule("score set", lambda row: row["score"] != 0, ("score",)),),
"""
FILTER = """
@hookimpl
def sink_filter(event):
    return FilterResult[event.row["state"]]
"""
FAILS_ONCE = """
_failed = []

@hookimpl
def sink_mask(row):
    if row["id"] == "2" and not _failed:
        _failed.append(row)
        raise RetriableError("not now")
    return row
"""
ANNA = {"id": "1", "score": 1, "at": "5", "state": "PASS"}


class TestChain:
    @pytest.fixture
    def make(self, site) -> Callable[..., Harness]:
        def build(code: str = "", declared: str = "conflict=source_wins(),") -> Harness:
            site.plugin("people", PEOPLE.format(declared=declared) + code)
            return Harness("people")

        return build

    def test_row_that_breaks_rule_is_not_written(self, make: Callable) -> None:
        sink = make(declared=WITH_RULE)
        broken = sink.send(create(**ANNA | {"score": 0}))
        assert (broken.rows, broken.leaves, broken.rule) == ([], [], "score set")
        assert sink.send(create(**ANNA)).rule is None

    def test_filtered_row_may_break_rule(self, make: Callable) -> None:
        sink = make(FILTER, WITH_RULE)
        bad = ANNA | {"score": 0}
        assert sink.send(create(**bad | {"state": "DROP"})).error is None
        assert sink.send(create(**bad | {"state": "REMOVE"})).leaves == [(("1",), Delete())]
        assert sink.send(create(**bad)).rule == "score set"

    def test_removed_row_may_break_rule(self, make: Callable) -> None:
        sink = make()
        bad = ANNA | {"score": -1, "at": None}
        assert sink.send(delete(**bad)).leaves == [(("1",), Delete())]
        assert sink.send(delete(**bad | {"id": None})).error is None

    def test_bad_row_can_be_corrected(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        corrected = sink.send(update(ANNA | {"score": -1, "at": None}, score=2, at="6"))
        assert corrected.row["score"] == "2"
        assert sink.send(update(ANNA, score=-1)).rule == "minimum"

    def test_default_in_before_image_is_not_counted(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        assert sink.send(update(ANNA | {"score": None}, score=2, at="6")).defaults == ()

    def test_default_is_reported_with_its_event(self, make: Callable) -> None:
        sink = make()
        first, second = create(**ANNA | {"score": None}), create(**ANNA | {"id": "2"})
        assert [sink.send(first).defaults, sink.send(second).defaults] == [("score",), ()]
        ((message, column),) = sink.apply(second, first).defaults
        assert (message.offset, column) == (1, "score")

    def test_default_of_failed_event_is_not_counted(self, make: Callable) -> None:
        sink = make()
        wrong = create(**ANNA | {"score": None, "at": None})
        assert sink.apply(wrong, create(**ANNA)).defaults == []

    def test_default_of_unchanged_row_is_not_counted(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        same = ANNA | {"score": None}
        assert sink.apply(update(same, at="6")).defaults == []

    def test_default_of_failed_attempt_is_not_counted(self, make: Callable) -> None:
        sink = make(FAILS_ONCE)
        rows = [create(**ANNA | {"id": i, "score": None}) for i in ("1", "2")]
        with pytest.raises(RetriableError):
            sink.apply(*rows)
        assert len(sink.apply(*rows).defaults) == 2
