"""Checks of a declared mapping."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sink_runner.loading.discovery import Plugin, check_together
from sink_runner.loading.mapping_checks import (
    candidate_name,
    mapping_cycles,
    mapping_faults,
    name_faults,
    shared_candidates,
)
from sink_runner.plugin import (
    Column,
    Constant,
    Delete,
    Derived,
    Ignore,
    Lookup,
    Query,
    Review,
    Rule,
    Schedule,
    SetColumns,
    SyncTime,
    TableMapping,
    all_of,
    first_of,
    merge_changed,
    newest_wins,
    not_before,
    source_wins,
)

VALID = TableMapping(
    source="north.public.apples",
    target="south.public.apples",
    key=("id",),
    conflict=newest_wins("changed"),
    columns=(Column("id", required=True), Column("changed"), Column("seen", SyncTime())),
)
GROUPED = replace(
    VALID,
    columns=(Column("id", type="int8"), Column("family", type="text")),
    conflict=source_wins(),
    key=("family", "rank"),
    derived=Derived(key=("id",), group=("family",), select="SELECT 1 FROM {candidates}"),
)
WRONG: list[Any] = ["id"]
TEXT: Any = "ab"
RULE: Any = Rule("has id", lambda row: row["id"] is not None, ("id",))
DAILY = (Schedule("0 0 * * *"),)


TWO_SOURCES = Column("a", all_of("b", "c"), lookup=Lookup("SELECT %s, %s", "north"))
LOOKED_UP = replace(
    VALID,
    columns=(Column("id", lookup=Lookup("SELECT %s", "north")), Column("changed")),
    on_delete=Ignore(),
    on_remove=Ignore(),
)


def with_column(*columns: Column) -> TableMapping:
    return replace(VALID, columns=(*VALID.columns, *columns))


@pytest.mark.parametrize(
    "mapping",
    [
        VALID,
        GROUPED,
        replace(
            VALID, schedules=(Schedule("*/5 1-3 * * mon,fri"), Schedule("0 0 * * *", full=True))
        ),
        replace(VALID, schedules=DAILY, streaming=False, query=Query(select="SELECT 1")),
        replace(VALID, on_delete=Review(), needs_before_image=True),
        replace(VALID, on_delete=SetColumns({"gone": True})),
        replace(VALID, conflict=merge_changed("changed"), needs_before_image=True),
        with_column(Column("a", lookup=Lookup("SELECT %s", "north"))),
        with_column(TWO_SOURCES),
        with_column(Column("a", all_of("b", "c"), convert=" ".join)),
        with_column(replace(TWO_SOURCES, convert=" ".join, lookup=Lookup("SELECT %s", "north"))),
        LOOKED_UP,
        replace(LOOKED_UP, needs_before_image=True, on_key_change=Ignore()),
        replace(
            LOOKED_UP,
            on_remove=Delete(),
            schedules=DAILY,
            streaming=False,
            query=Query(select="SELECT 1"),
        ),
        replace(
            GROUPED, columns=(GROUPED.columns[0], replace(TWO_SOURCES, name="family", type="a"))
        ),
        with_column(Column("a", minimum=1, maximum=1, default=1)),
        with_column(Column("a", one_of=frozenset({"x"}), default="x", required=False)),
        replace(VALID, rules=(RULE, not_before("changed", "made"))),
    ],
)
def test_valid_mapping_has_no_errors(mapping):
    assert mapping_faults(mapping) == []


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (replace(VALID, source="apples"), "source: 'apples' is not of the form"),
        (replace(VALID, target="a.b.c.d"), "target: 'a.b.c.d' is not of the form"),
        (replace(VALID, target=VALID.source), "source and target are the same table"),
        (replace(VALID, key=WRONG), "key must be a tuple"),
        (replace(VALID, key=()), "key is empty"),
        (replace(VALID, columns=()), "columns is empty"),
        (replace(VALID, columns=tuple(WRONG)), "columns must hold Column values only"),
        (replace(VALID, key=("nr",)), "key column 'nr' is not declared"),
        (replace(VALID, key=("id", "id")), "key names column 'id' twice"),
        (replace(VALID, key=("seen",)), "key column 'seen' would differ with every write"),
        (with_column(Column("id", "other")), "column 'id' is declared twice"),
        (with_column(Column("a", first_of())), "first_of() needs a column"),
        (with_column(Column("a", all_of(), convert=str)), "all_of() needs a column"),
        (with_column(Column("a", must_resolve=True)), "must_resolve needs a lookup"),
        (with_column(Column("a", all_of("b", "c"))), "it needs a lookup"),
        (
            with_column(replace(TWO_SOURCES, lookup=Lookup("SELECT %s", "north"))),
            "takes 1 arrays and is given 2",
        ),
        (
            with_column(replace(TWO_SOURCES, lookup=(TWO_SOURCES.lookup,) * 2)),
            "takes 2 arrays and is given 1",
        ),
        (replace(LOOKED_UP, on_delete=Delete()), "on_delete=Delete() needs the target's key"),
        (
            replace(LOOKED_UP, on_remove=SetColumns({"changed": 1})),
            "and id is looked up, for rows that",
        ),
        (
            replace(LOOKED_UP, on_key_change=Delete(), needs_before_image=True),
            "set on_key_change=Ignore()",
        ),
        (with_column(Column("a", SyncTime(), convert=str)), "convert and lookup need a source"),
        (with_column(Column("a", required=True, default=0)), "required and default exclude"),
        (with_column(Column("a", max_length=0)), "max_length is less than 1"),
        (with_column(Column("a", minimum=2, maximum=1)), "minimum is more than maximum"),
        (with_column(Column("a", minimum=2, maximum="b")), "cannot be compared"),
        (with_column(Column("a", one_of=frozenset())), "one_of is empty"),
        (with_column(Column("a", one_of=TEXT)), "one_of must be a set, not str"),
        (with_column(Column("a", minimum=0, default=-1)), "default breaks rule 'minimum'"),
        (with_column(Column("a", maximum=0, default="x")), "default breaks rule 'maximum'"),
        (with_column(Column("a", one_of=frozenset("x"), default="y")), "breaks rule 'one_of'"),
        (with_column(Column("a", Constant(1), minimum=0)), "need a source column"),
        (with_column(Column("a", SyncTime(), one_of=frozenset("x"))), "need a source column"),
        (with_column(replace(TWO_SOURCES, maximum=0)), "need a source column"),
        (replace(VALID, rules=(replace(RULE, name=" "),)), "a rule has no name"),
        (replace(VALID, rules=(RULE, RULE)), "rule 'has id' is declared twice"),
        (
            replace(VALID, rules=(replace(RULE, name="minimum"),)),
            "has the name of a rule of columns",
        ),
        (replace(VALID, rules=(replace(RULE, reads=TEXT),)), "reads must be a tuple"),
        (replace(VALID, rules=(replace(RULE, reads=()),)), "reads must be a tuple"),
        (replace(VALID, rules=RULE), "rules must be a tuple"),
        (replace(VALID, rules=(len,)), "rules must hold Rule values only"),
        (with_column(Column("a", type="text")), "type is for candidates only"),
        (with_column(Column("a", lookup=Lookup("%s", "east"))), "lookup in 'east'"),
        (with_column(Column("a", lookup=Lookup("SELECT 1", "north"))), "query has no %s"),
        (replace(VALID, conflict=newest_wins("moved")), "version column 'moved' is not declared"),
        (replace(VALID, conflict=newest_wins("id")), "part of the key"),
        (replace(VALID, conflict=newest_wins("seen")), "every write would win"),
        (
            replace(with_column(Column("v", insert_only=True)), conflict=newest_wins("v")),
            "it never changes",
        ),
        (replace(VALID, conflict=merge_changed("changed")), "merge_changed compares"),
        (replace(VALID, on_delete=Review()), "on_delete=Review() asks"),
        (replace(VALID, on_key_change=Review()), "on_key_change=Review() asks"),
        (replace(VALID, on_remove=SetColumns({})), "on_remove=SetColumns() sets no column"),
        (
            replace(VALID, on_remove=SetColumns({"id": 1})),
            "on_remove=SetColumns() sets a key column",
        ),
        (replace(VALID, schedules=(Schedule("daily"),)), "is not a cron expression"),
        (replace(VALID, schedules=(Schedule("0 1 * *"),)), "is not a cron expression"),
        (replace(VALID, streaming=False), "without events and batches"),
        (replace(VALID, query=Query(select="SELECT 1")), "needs streaming=False"),
        (
            replace(
                VALID,
                schedules=DAILY,
                streaming=False,
                query=Query(select="SELECT 1", replaces=("day",)),
            ),
            "query.replaces column 'day' is not declared",
        ),
        (replace(GROUPED, columns=(*GROUPED.columns, Column("a"))), "needs a type"),
    ],
)
def test_error_of_invalid_mapping_names_cause(mapping, message):
    (error,) = mapping_faults(mapping)
    assert message in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": ("nr",)}, "derived.key column 'nr' is not declared"),
        ({"group": ("nr",)}, "derived.group column 'nr' is not declared"),
        ({"group": ()}, "derived.group is empty"),
        ({"expire_column": "id"}, "expire_column and expire_after go together"),
        (
            {"expire_column": "nr", "expire_after": timedelta(1)},
            "derived.expire_column column 'nr' is not declared",
        ),
        ({"select": "SELECT 1"}, "does not read {candidates}"),
    ],
)
def test_error_of_invalid_candidates_names_cause(change, message):
    assert GROUPED.derived is not None
    (error,) = mapping_faults(replace(GROUPED, derived=replace(GROUPED.derived, **change)))
    assert message in error


@pytest.mark.parametrize(
    ("edges", "cycles"),
    [
        ([("a", "b"), ("b", "c")], []),
        ([("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")], []),
        ([("c", "a"), ("a", "b"), ("b", "c")], [["a", "b", "c"]]),
        (
            [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("c", "a")],
            [["a", "b", "c"], ["a", "b", "c", "d"]],
        ),
    ],
)
def test_cycle_of_three_or_more_is_found_once(edges, cycles):
    assert mapping_cycles(edges) == cycles


def test_name_too_long_for_replication_origin_is_refused() -> None:
    assert list(name_faults("ñ" * 100)) == []
    (error,) = name_faults("ñ" * 101)
    assert "has 202 bytes, expected at most 200" in error


def test_long_names_have_different_candidate_tables() -> None:
    """PostgreSQL cuts identifiers at 63 bytes, which would give both the same table."""
    first, second = (candidate_name("ñ" * 40 + end) for end in ("-a", "-b"))
    assert first != second
    assert all(len(name.encode()) <= 63 for name in (first, second))
    assert candidate_name("top-hints") == "candidates_top_hints"


def test_shared_candidate_table_is_found() -> None:
    mappings = {"a-b": GROUPED, "a_b": GROUPED, "c": GROUPED, "a-c": VALID, "a_c": GROUPED}
    assert list(shared_candidates(mappings)) == [("candidates_a_b", ["a-b", "a_b"])]


def test_plugins_sharing_candidate_table_are_broken() -> None:
    plugins = [
        Plugin(name=name, entry_points=(), mapping=replace(GROUPED, source=f"north.public.{at}"))
        for at, name in enumerate(("a-b", "a_b"))
    ]
    check_together(plugins)
    for plugin in plugins:
        assert "shares the candidate table sink.candidates_a_b" in plugin.errors[0]
