"""What breaks a rule is never written, and no error shows its value."""

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


def ways(made: RowPlan) -> list[Callable]:
    """Every way by which a source row becomes a target row."""
    return [
        made.flat,
        made.partial,
        lambda row: made.finish(made.typed(row)),
        lambda row: made.partial_finish(made.partial_typed(row)),
    ]


def came_to(way: Callable, *values: Any) -> Any:
    """The value that is written, or the rule and the column that refuse it."""
    try:
        (value,) = way(values)
    except QualityError as broken:
        return broken.rule, broken.column
    return value


def outcome(made: RowPlan, *values: Any) -> Any:
    found = [came_to(way, *values) for way in ways(made)]
    assert found == [found[0]] * len(found)
    return found[0]


class TestColumns:
    @pytest.mark.parametrize(
        ("value", "found"),
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
    def test_numbers_are_compared_as_numbers(self, value: str | None, found: Any) -> None:
        assert outcome(plan(SCORE, NUMERIC, "numeric"), value) == found

    @pytest.mark.parametrize("value", [math.nan, 1.5, -0.1])
    def test_double_nan_breaks_bound(self, value: float) -> None:
        assert isinstance(outcome(plan(SCORE, (Kind.DOUBLE, None)), value), tuple)

    @pytest.mark.parametrize(
        ("value", "found"),
        [("LOW", "LOW"), ("low", ("one_of", "a")), ("", ("one_of", "a")), (None, None)],
    )
    def test_anything_else_than_one_of_them_is_refused(self, value: Any, found: Any) -> None:
        assert outcome(plan(LEVEL), value) == found

    def test_times_are_compared_as_times(self) -> None:
        made = plan(Column("a", minimum=DAY), (Kind.TIMESTAMP, None), "timestamp")
        for way in ways(made):
            assert isinstance(came_to(way, "2026-01-15T00:00:00Z"), str)
            assert came_to(way, "2026-01-14T23:59:59Z") == ("minimum", "a")

    @pytest.mark.parametrize(
        ("column", "kind", "value"),
        [
            (SCORE, (Kind.STRING, None), SECRET),
            (Column("a", minimum=DAY.replace(tzinfo=UTC)), (Kind.TIMESTAMP, None), "2027-01-15"),
            (LEVEL, (Kind.ARRAY, None), [SECRET]),
        ],
    )
    def test_what_cannot_be_compared_is_refused(
        self, column: Column, kind: Any, value: Any
    ) -> None:
        assert isinstance(outcome(plan(column, kind), value), tuple)

    def test_the_rule_sees_what_convert_made(self) -> None:
        made = plan(Column("a", convert=str.upper, one_of=frozenset({"LOW"})))
        assert [outcome(made, value) for value in ("low", "mid")] == ["LOW", ("one_of", "a")]

    def test_the_default_stands_for_null_and_nothing_else(self) -> None:
        made = plan(Column("a", minimum=0, default=0), NUMERIC)
        assert [outcome(made, value) for value in (None, "-1")] == ["0", ("minimum", "a")]

    def test_rule_sees_unmasked_value(self) -> None:
        made = plan(LEVEL, mask=lambda text: text and "***")
        assert [outcome(made, value) for value in ("LOW", "MID")] == ["***", ("one_of", "a")]

    def test_rule_sees_text_before_truncation(self) -> None:
        made = plan(Column("a", one_of=frozenset({"LOW"}), max_length=3))
        assert outcome(made, "LOWER") == ("one_of", "a")

    def test_rule_sees_lookup_key(self) -> None:
        made = plan(Column("a", minimum=5, lookup=Lookup("%s", "n")), (Kind.INT, None))
        assert [outcome(made, value) for value in (5, 4)] == [5, ("minimum", "a")]

    def test_first_value_not_null_counts(self) -> None:
        made = plan(Column("a", first_of("a", "b"), maximum=1), NUMERIC)
        assert [outcome(made, *row) for row in (("1", "9"), (None, "9"))] == ["1", ("maximum", "a")]

    def test_rule_of_column_missing_in_event_is_skipped(self) -> None:
        made = plan(Column("a", maximum=1, required=True), NUMERIC)
        assert came_to(made.partial, ABSENT) is ABSENT

    def test_null_breaks_the_rule_required(self) -> None:
        for lookup in (None, Lookup("%s", "n")):
            made = plan(Column("a", required=True, lookup=lookup))
            assert [outcome(made, value) for value in ("x", None)] == ["x", ("required", "a")]

    def test_a_rule_changes_nothing_of_what_is_written(self) -> None:
        column = Column("a", minimum=datetime.min)  # noqa: DTZ901 - a column without zone
        made = plan(column, (Kind.TIMESTAMP, None), "timestamp")
        assert made.flat(("infinity",)) == ("infinity",)

    def test_what_plugin_makes_of_it_is_checked_again(self) -> None:
        made = plan(SCORE, NUMERIC)
        assert came_to(made.finish, Decimal(2)) == ("maximum", "a")
        assert came_to(made.partial_finish, Decimal(2)) == ("maximum", "a")

    def test_without_rules_the_row_before_may_hold_anything(self) -> None:
        stage = TargetColumn(Column("a", minimum=0, maximum=1, required=True), "text", "text")
        made = RowPlan([stage.unruled], [SourceColumn("a", *NUMERIC)])
        assert [outcome(made, value) for value in ("7", "-7", None)] == ["7", "-7", None]


class TestDefaults:
    def findings(self, column: Column, way: int, *rows: str | None) -> list[str]:
        found: list[str] = []
        made = ways(plan(column, defaulted=found.append))[way]
        for value in rows:
            made((value,))
        return found

    @pytest.mark.parametrize("way", range(4))
    @pytest.mark.parametrize("more", [{}, {"one_of": frozenset("dx")}, {"convert": str}])
    def test_each_use_is_reported_once(self, way: int, more: dict[str, Any]) -> None:
        column = Column("a", default="d", **more)
        assert self.findings(column, way, None, "x", None) == ["a", "a"]


VALUES = st.one_of(
    st.decimals(), st.decimals(0, 1), st.integers(-2, 3).map(Decimal), st.just(Decimal("NaN"))
)


class TestWhateverTheValue:
    @given(value=st.none() | VALUES, low=st.integers(-1, 1), span=st.integers(0, 2), data=st.data())
    def test_bounds_decide_what_is_written(
        self, value: Decimal | None, low: int, span: int, data: st.DataObject
    ) -> None:
        more = data.draw(st.sampled_from([{}, {"convert": lambda it: it}, {"default": low}]))
        made = plan(Column("a", minimum=low, maximum=low + span, **more), NUMERIC, "numeric")
        spelled = None if value is None else f"{value:f}"  # without exponent, as Debezium does
        found = outcome(made, spelled)
        if value is not None and (value.is_nan() or not low <= value <= low + span):
            assert isinstance(found, tuple)
        else:
            assert found is None or low <= Decimal(found) <= low + span
            assert found is not None or "default" not in more

    @given(value=st.text(max_size=3), allowed=st.frozensets(st.text(max_size=3), min_size=1))
    def test_only_one_of_them_is_written(self, value: str, allowed: frozenset[str]) -> None:
        found = outcome(plan(Column("a", one_of=allowed)), value)
        assert found == (value if value in allowed else ("one_of", "a"))

    @given(value=st.text("qwz#§", min_size=4) | st.lists(st.just(SECRET), min_size=1))
    def test_no_error_shows_it(self, value: Any) -> None:
        kind = (Kind.ARRAY if isinstance(value, list) else Kind.STRING, None)
        visible = SECRET if isinstance(value, list) else value
        for column in (LEVEL, SCORE, Column("a", maximum="#")):
            for way in ways(plan(column, kind)):
                with pytest.raises(QualityError) as caught:
                    way((value,))
                error = caught.value
                assert visible not in "".join([str(error), text_of(error), repr(error.args)])
                assert not any(visible in line for line in trace(error))


class TestRows:
    def row(self, **values: Any) -> SourceRow:
        return SourceRow(list(values.values()), {name: (i, None) for i, name in enumerate(values)})

    def test_what_breaks_a_rule_is_named_by_it(self) -> None:
        rule = Rule("more", lambda row: row["a"] > row["b"], ("a", "b"))
        check_row([rule], self.row(a=2, b=1))
        with pytest.raises(QualityError) as caught:
            check_row([rule], self.row(a=1, b=1))
        assert (caught.value.rule, caught.value.column) == ("more", "")
        assert str(caught.value) == "the row breaks rule 'more'"

    def test_rule_of_missing_column_is_skipped(self) -> None:
        def ask(_row: Any) -> bool:
            raise AssertionError

        check_row([Rule("never", ask, ("a", "b"))], self.row(a=1, b=ABSENT))

    @pytest.mark.parametrize(
        ("later", "earlier", "sound"),
        [(2, 1, True), (1, 1, True), (1, 2, False), (None, 2, True), (1, None, True)],
    )
    def test_one_time_is_not_before_another(self, later: Any, earlier: Any, *, sound: bool) -> None:
        check = partial(check_row, [not_before("a", "b")], self.row(a=later, b=earlier))
        if sound:
            check()
        else:
            with pytest.raises(QualityError, match="'a not before b'"):
                check()

    def test_rule_that_fails_is_mapping_fault_and_named(self) -> None:
        with pytest.raises(StepError, match="rule 'odd' of plugin 'mapping' raised KeyError") as e:
            check_row([Rule("odd", lambda row: row[SECRET], ("a",))], self.row(a=1))
        assert SECRET not in text_of(e.value)

    def test_an_error_of_the_author_s_own_passes(self) -> None:
        def ask(_row: Any) -> bool:
            raise EventError("mine")

        with pytest.raises(EventError, match="mine"):
            check_row([Rule("odd", ask, ("a",))], self.row(a=1))


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
FULL = """
    conflict=source_wins(), extra_columns=("state",),
    rules=(Rule("full", lambda row: row["score"] != 0, ("score",)),),
"""
ONLY_OPEN = """
@hookimpl
def sink_filter(event):
    return FilterResult[event.row["state"]]
"""
NOT_NOW = """
_seen = []

@hookimpl
def sink_mask(row):
    if row["id"] == "2" and not _seen:
        _seen.append(row)
        raise RetriableError("not now")
    return row
"""
ANNA = {"id": "1", "score": 1, "at": "5", "state": "PASS"}


class TestInTheChain:
    @pytest.fixture
    def make(self, site) -> Callable[..., Harness]:
        def build(code: str = "", declared: str = "conflict=source_wins(),") -> Harness:
            site.plugin("people", PEOPLE.format(declared=declared) + code)
            return Harness("people")

        return build

    def test_row_that_breaks_rule_is_not_written(self, make: Callable) -> None:
        sink = make(declared=FULL)
        broken = sink.send(create(**ANNA | {"score": 0}))
        assert (broken.rows, broken.leaves, broken.rule) == ([], [], "full")
        assert sink.send(create(**ANNA)).rule is None

    def test_row_that_filter_refuses_may_break_it(self, make: Callable) -> None:
        sink = make(ONLY_OPEN, FULL)
        bad = ANNA | {"score": 0}
        assert sink.send(create(**bad | {"state": "DROP"})).error is None
        assert sink.send(create(**bad | {"state": "REMOVE"})).leaves == [(("1",), Delete())]
        assert sink.send(create(**bad)).rule == "full"

    def test_a_row_that_leaves_may_break_any(self, make: Callable) -> None:
        sink = make()
        gone = ANNA | {"score": -1, "at": None}
        assert sink.send(delete(**gone)).leaves == [(("1",), Delete())]
        assert sink.send(delete(**gone | {"id": None})).error is None

    def test_row_that_was_bad_can_be_repaired(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        repaired = sink.send(update(ANNA | {"score": -1, "at": None}, score=2, at="6"))
        assert repaired.row["score"] == "2"
        assert sink.send(update(ANNA, score=-1)).rule == "minimum"

    def test_default_of_row_before_is_not_counted(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        assert sink.send(update(ANNA | {"score": None}, score=2, at="6")).defaults == ()

    def test_default_is_reported_with_its_event(self, make: Callable) -> None:
        sink = make()
        one, two = create(**ANNA | {"score": None}), create(**ANNA | {"id": "2"})
        assert [sink.send(one).defaults, sink.send(two).defaults] == [("score",), ()]
        ((message, column),) = sink.apply(two, one).defaults
        assert (message.offset, column) == (1, "score")

    def test_that_of_an_event_which_fails_is_not(self, make: Callable) -> None:
        sink = make()
        wrong = create(**ANNA | {"score": None, "at": None})
        assert sink.apply(wrong, create(**ANNA)).defaults == []

    def test_that_of_event_which_changes_nothing_is_not(self, make: Callable) -> None:
        sink = make(declared=MERGED)
        same = ANNA | {"score": None}
        assert sink.apply(update(same, at="6")).defaults == []

    def test_an_attempt_that_was_cut_short_counts_nothing(self, make: Callable) -> None:
        sink = make(NOT_NOW)
        rows = [create(**ANNA | {"id": i, "score": None}) for i in ("1", "2")]
        with pytest.raises(RetriableError):
            sink.apply(*rows)
        assert len(sink.apply(*rows).defaults) == 2
