"""From events to changes: what passes, what leaves, what is a dead letter."""

import json
import math
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sink_runner.errors import EventError, FatalError, RetriableError, StepError, WaitingError
from sink_runner.model.changes import READ, Removal, Write
from sink_runner.plugin import ABSENT, Delete, Review, SetColumns
from sink_runner.testing import NOW, Harness, Outcome, Sample, create, delete, snapshot, update

MAPPING = """
from sink_runner.plugin import *
from sink_runner.plugin import Change

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        {declared}
        columns=({columns}),
    )
"""
COLUMNS = 'Column("id"), Column("name"), Column("city"), Column("at")'
FILTER = """
@hookimpl
def sink_filter(event):
    return FilterResult[event.row["result"]] if event.row["result"] else FilterResult.PASS
"""
FILTERED = 'conflict=source_wins(), extra_columns=("result",), needs_before_image=True,'
MERGED = 'conflict=merge_changed("at"), needs_before_image=True,'
ROW = {"id": "1", "name": "Anna", "city": "Bagru", "at": "5", "result": None}
SECRET = "Zarathustra-17"
Make = Callable[..., Harness]


@pytest.fixture
def make(site) -> Make:
    def build(
        code: str = "",
        declared: str = "conflict=source_wins(),",
        columns: str = COLUMNS,
        **options: Any,
    ) -> Harness:
        site.plugin("people", MAPPING.format(declared=declared, columns=columns) + code)
        return Harness("people", **options)

    return build


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder whose one policy shows the last four characters of `name` in south."""
    folder = tmp_path / "policies"
    shutil.copytree(Path(__file__).parents[3] / "ranger-policies", folder)
    document = json.loads((folder / "policies.json").read_text())
    policy = document["policies"][0]
    resource = {"database": "north", "schema": "public", "table": "people", "column": "name"}
    policy["resources"] = {level: {"values": [name]} for level, name in resource.items()}
    policy["dataMaskPolicyItems"][0]["groups"] = ["south"]
    (folder / "policies.json").write_text(json.dumps(document | {"policies": [policy]}))
    return folder


def refused(outcome: Outcome) -> EventError:
    assert (outcome.rows, outcome.leaves) == ([], [])
    assert outcome.error is not None
    return outcome.error


class TestEchoes:
    def test_only_the_opposite_mappings_writes_are_echoes(self, make: Make) -> None:
        sink = make()
        sink.parts.route._echoes = ("sink/back/",)
        for origin in ("sink/back/0", "sink/back/15"):
            assert sink.apply(create(**ROW).by(origin)).counts == {"echo": 1}
        for origin in ("sink/backwards/0", "sink/bac/0", "xsink/back/0", "other", None):
            assert len(sink.apply(create(**ROW).by(origin)).changes) == 1

    def test_echoes_of_mappings_elsewhere_are_dropped(self, make: Make) -> None:
        sink = make()
        sink.parts.route._feeds = "sink/away/0".__eq__
        assert sink.apply(create(**ROW).by("sink/away/0")).counts == {"echo": 1}
        assert len(sink.apply(create(**ROW).by("sink/other/0")).changes) == 1

    def test_a_deletion_is_one_too(self, make: Make) -> None:
        sink = make()
        sink.parts.route._echoes = ("sink/back/",)
        assert sink.apply(delete(**ROW).by("sink/back/0")).changes == []


class TestFilterResults:
    @pytest.fixture
    def sink(self, make: Make) -> Harness:
        return make(FILTER, FILTERED)

    def test_pass_writes(self, sink: Harness) -> None:
        assert sink.send(create(**ROW)).row["name"] == "Anna"

    def test_drop_changes_nothing_and_is_counted(self, sink: Harness) -> None:
        batch = sink.apply(create(**ROW | {"result": "DROP"}))
        assert (batch.changes, batch.dead_letters, batch.counts) == ([], [], {"filtered": 1})

    def test_removal_deletes_the_row(self, sink: Harness) -> None:
        assert sink.send(update(ROW, result="REMOVE")).leaves == [(("1",), Delete())]

    def test_removal_under_new_key_deletes_old_one(self, sink: Harness) -> None:
        changed = update(ROW, id="2", result="REMOVE")
        assert sink.send(changed).leaves == [(("1",), Delete())]

    def test_removal_needs_the_key_only(self, make: Make) -> None:
        columns = 'Column("id"), Column("name", required=True, convert=int)'
        sink = make(FILTER, FILTERED, columns)
        gone = update(ROW, name="no number", result="REMOVE")
        assert sink.send(gone).leaves == [(("1",), Delete())]

    def test_a_delete_is_not_filtered(self, sink: Harness) -> None:
        assert len(sink.send(delete(**ROW | {"result": "DROP"})).leaves) == 1

    def test_reads_that_were_not_declared_are_named(self, make: Make) -> None:
        sink = make(FILTER)
        error = refused(sink.send(create(**ROW)))
        assert str(error).startswith("sink_filter of plugin 'people' raised KeyError: column '")
        assert str(error).endswith("is not read by this mapping: add it to extra_columns")

    @pytest.mark.parametrize("answer", ["True", "None", "'PASS'"])
    def test_anything_but_a_filter_result_is_a_fault(self, make: Make, answer: str) -> None:
        sink = make(f"\n@hookimpl\ndef sink_filter(event):\n    return {answer}\n")
        error = refused(sink.send(create(**ROW)))
        assert isinstance(error, StepError)
        assert (error.plugin, error.step) == ("people", "sink_filter")


class TestKeys:
    def test_new_key_is_removal_and_row(self, make: Make) -> None:
        key_change = 'on_key_change=SetColumns({"name": "x"}),'
        sink = make(declared="conflict=source_wins(), needs_before_image=True, " + key_change)
        left, written = sink.changes(update(ROW, id="2"))
        assert (left.key, left.action, written.key) == (("1",), SetColumns({"name": "x"}), ("2",))

    def test_new_key_without_rule_removes_old_one(self, make: Make) -> None:
        sink = make(declared="conflict=source_wins(), needs_before_image=True, on_remove=Ignore(),")
        left, _ = sink.changes(update(ROW, id="2"))
        assert type(left.action).__name__ == "Ignore"

    def test_a_row_that_did_not_belong_leaves_nothing(self, make: Make) -> None:
        sink = make(FILTER, FILTERED)
        (only,) = sink.changes(update(ROW | {"result": "DROP"}, id="2", result=None))
        assert isinstance(only, Write)

    def test_a_row_without_a_key_is_a_fault(self, make: Make) -> None:
        error = refused(make().send(create(**ROW | {"id": None})))
        assert str(error) == "key column 'id' is NULL or missing"

    def test_and_deleting_it_is_none(self, make: Make) -> None:
        batch = make().apply(delete(**ROW | {"id": None}))
        assert (batch.changes, batch.dead_letters) == ([], [])

    def test_delete_that_does_not_carry_key_is_fault(self, make: Make) -> None:
        sink = make()
        error = refused(sink.send(Sample("d", None, {"name": "Anna"})))
        assert str(error).startswith("key column 'id' is not in the event: give the source table")
        refused(sink.send(Sample("d", None, None)))

    def test_a_truncation_stops_the_mapping(self, make: Make) -> None:
        with pytest.raises(FatalError, match="was truncated"):
            make().send(Sample("t", None))


class TestReview:
    @pytest.fixture
    def sink(self, make: Make) -> Harness:
        return make(FILTER, FILTERED + "on_delete=Review(),")

    def test_a_row_that_belonged_is_for_review(self, sink: Harness) -> None:
        assert sink.send(delete(**ROW)).leaves == [(("1",), Review())]

    @pytest.mark.parametrize("result", ["DROP", "REMOVE"])
    def test_a_row_that_did_not_is_not(self, sink: Harness, result: str) -> None:
        assert sink.send(delete(**ROW | {"result": result})).leaves == []


class TestMerge:
    @pytest.fixture
    def sink(self, make: Make) -> Harness:
        return make(FILTER, MERGED + 'extra_columns=("result",),')

    def test_unchanged_columns_are_kept(self, sink: Harness) -> None:
        (write,) = sink.changes(update(ROW, city="Jaipur", at="6"))
        assert write.keep == 1 << 1  # the name; never the key or the version

    def test_unmapped_change_writes_nothing(self, sink: Harness) -> None:
        batch = sink.apply(update(ROW, at="6"))
        assert (batch.changes, batch.counts) == ([], {"unchanged": 1})

    @pytest.mark.parametrize(
        "sample",
        [
            create(**ROW),
            update(ROW | {"result": "DROP"}, result=None),
            update(ROW, id="2"),
        ],
        ids=["create", "re-entry", "key change"],
    )
    def test_row_that_is_new_to_target_is_whole(self, sink: Harness, sample: Sample) -> None:
        assert [w.keep for w in sink.changes(sample) if isinstance(w, Write)] == [0]

    def test_read_row_is_marked_as_whole(self, sink: Harness) -> None:
        assert [w.keep for w in sink.changes(snapshot(**ROW)) if isinstance(w, Write)] == [READ]

    def test_a_column_that_neither_row_carries_is_kept(self, make: Make) -> None:
        sink = make(declared=MERGED)
        without = {name: value for name, value in ROW.items() if name != "name"}
        (write,) = sink.changes(update(without, city="Jaipur"))
        assert (write.values[1], write.keep, write.partial) == (ABSENT, 1 << 1, True)

    @pytest.mark.parametrize(
        ("before", "after", "keep"),
        [(0.0, -0.0, 0), (-0.0, 0.0, 0), (math.nan, math.nan, 1 << 1), (1.5, 1.5, 1 << 1)],
    )
    def test_a_double_is_kept_as_it_is_stored(
        self, make: Make, before: float, after: float, keep: int
    ) -> None:
        """0 and -0 are equal and not the same; NaN is the same and not equal."""
        sink = make(declared=MERGED, types={"name": "float8"})
        (write,) = sink.changes(update({**ROW, "name": before}, name=after, city="Jaipur"))
        assert write.keep == keep


class TestFaults:
    @pytest.mark.parametrize(
        "sample",
        [create(**ROW | {"id": SECRET}), delete(**ROW | {"id": SECRET})],
        ids=["create", "delete"],
    )
    def test_a_conversion_that_fails_is_the_events_fault(self, make: Make, sample: Sample) -> None:
        sink = make(columns='Column("id", convert=int), Column("name")')
        ok = create(**ROW | {"id": "2"})
        batch = sink.apply(ok, sample, ok)
        assert len(batch.changes) == 2
        assert [str(dead_letter.error) for dead_letter in batch.dead_letters] == [
            "columns of plugin 'mapping' raised ValueError"
        ]

    def test_so_is_one_of_the_old_row(self, make: Make) -> None:
        sink = make(FILTER, FILTERED, 'Column("id", convert=int), Column("name")')
        for sample in (update(ROW | {"id": SECRET}, id="1"), update(ROW | {"id": "x"}, id="x")):
            assert SECRET not in str(refused(sink.send(sample)))

    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_no_hook_puts_a_value_in_a_message(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    raise ValueError('{SECRET}')\n")
        error = refused(sink.send(create(**ROW)))
        name = hook.partition("(")[0]
        assert str(error) == f"{name} of plugin 'people' raised ValueError"

    @pytest.mark.parametrize("kind", [RetriableError, FatalError])
    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_a_plugin_may_stop_the_mapping(self, make: Make, hook: str, kind: type) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    raise {kind.__name__}('not now')\n")
        with pytest.raises(kind, match="not now"):
            sink.send(create(**ROW))

    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_panic_of_an_extension_is_the_events_fault(self, make: Make, hook: str) -> None:
        """What an extension in Rust raises, SystemExit and the like are no Exception."""
        panic = f"class Panic(BaseException): pass\n    raise Panic('{SECRET}')"
        sink = make(f"\n@hookimpl\ndef {hook}:\n    {panic}\n")
        error = refused(sink.send(create(**ROW)))
        assert str(error) == f"{hook.partition('(')[0]} of plugin 'people' raised Panic"

    def test_exit_in_a_conversion_is_the_events_fault(self, make: Make) -> None:
        sink = make("import sys", columns='Column("id"), Column("name", convert=sys.exit)')
        assert "raised SystemExit" in str(refused(sink.send(create(**ROW))))

    @pytest.mark.parametrize("hook", ["sink_map(event, row)", "sink_mask(row)"])
    def test_row_without_a_column_is_the_events_fault(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    del row['city']\n    return row\n")
        error = refused(sink.send(create(**ROW)))
        name = hook.partition("(")[0]
        assert str(error) == f"{name} of plugin 'people' returned no value for column 'city'"

    def test_filter_cannot_change_an_array(self, make: Make) -> None:
        code = "event.row['name'].append('x')\n    return FilterResult.PASS"
        sink = make(f"\n@hookimpl\ndef sink_filter(event):\n    {code}\n", types={"name": "text[]"})
        assert sink.send(create(**ROW | {"name": ["a", None]})).row["name"] == '{"a",NULL}'

    @pytest.mark.parametrize("hook", ["sink_map(event, row)", "sink_mask(row)"])
    def test_a_hook_that_forgets_to_return_is_named(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    pass\n")
        assert "'people' returned None" in str(refused(sink.send(create(**ROW))))


class TestMasks:
    def mask(self, code: str) -> str:
        return f"\n@hookimpl\ndef sink_mask(row):\n    return row | {code}\n"

    def test_a_plugin_may_mask_more(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'city': 'x', 'name': 'y'}"), policies=policies)
        row = sink.send(create(**ROW | {"name": SECRET})).row
        assert (row["city"], row["name"]) == ("x", "y")

    def test_never_less(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'name': row['city']}"), policies=policies)
        error = refused(sink.send(create(**ROW | {"name": SECRET, "city": SECRET})))
        assert str(error) == "sink_mask of plugin 'masks' uncovered column 'name'"

    def test_nor_where_the_value_was_no_text_before(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'name': row['city']}"), policies=policies)
        refused(sink.send(create(**ROW | {"name": 123456789, "city": "123456789"})))

    @pytest.mark.parametrize(
        "carried", ["event.row['name']", "f'of {event.row[\"name\"]}'", "event.before['name']"]
    )
    def test_step_may_not_carry_masked_value_elsewhere(
        self, make: Make, policies: Path, carried: str
    ) -> None:
        hook = f"\n@hookimpl\ndef sink_map(event, row):\n    return row | {{'city': {carried}}}\n"
        sink = make(hook, declared=MERGED, policies=policies)
        error = refused(sink.send(update(ROW | {"name": SECRET}, city="Jaipur")))
        assert str(error) == "sink_map of plugin 'maps' carries 'name' to column 'city' unmasked"

    def test_nor_what_it_only_reads(self, make: Make, policies: Path) -> None:
        hook = (
            "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': event.row['name']}\n"
        )
        declared, columns = (
            'conflict=source_wins(), extra_columns=("name",),',
            'Column("id"), Column("at")',
        )
        sink = make(hook, declared=declared, columns=columns, policies=policies)
        assert SECRET not in str(refused(sink.send(create(**ROW | {"name": SECRET}))))

    def test_what_is_declared_goes_by_its_own_policy(self, make: Make, policies: Path) -> None:
        hook = "\n@hookimpl\ndef sink_map(event, row):\n    row['at'] = '7'\n    return row\n"
        sink = make(hook, policies=policies)
        row = sink.send(create(**ROW | {"name": "Jaipur City", "city": "Jaipur"})).row
        assert (row["name"], row["city"], row["at"]) == ("****-****-City", "Jaipur", "7")

    def test_lookup_keys_do_not_reach_target(self, make: Make, policies: Path) -> None:
        hook = (
            "\n@hookimpl\ndef sink_map(event, row):\n    return {**row, 'at': event.row['name']}\n"
        )
        columns = """Column("id"), Column("name"), Column("city"),
            Column("at", "at", lookup=Lookup("SELECT %s", database="south"))"""
        sink = make(hook, columns=columns, policies=policies, found={"at": {SECRET: "found"}})
        assert sink.send(create(**ROW | {"name": SECRET})).row["at"] == "found"

    def test_own_column_and_coincidence_are_no_leak(self, make: Make, policies: Path) -> None:
        hook = "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': 'Asha is away'}\n"
        sink = make(hook, policies=policies)
        assert sink.send(create(**ROW | {"name": "Asha"})).row["at"] == "Asha is away"
        assert sink.send(create(**ROW | {"name": "****-****-1234"})).row["name"]

    def test_row_that_lacks_value_goes_through_hooks_too(self, make: Make, policies: Path) -> None:
        hooks = "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': 'mapped'}\n"
        sink = make(hooks + self.mask("{'city': 'x'}"), policies=policies)
        (write,) = sink.changes(create(id="1", name=SECRET, at="5"))
        assert write.values[2:] == ("x", "mapped")
        (write,) = sink.changes(create(id="1", city=SECRET, at="5"))
        assert write.values == ("1", ABSENT, "x", "mapped")
        assert (write.keep, write.partial) == (1 << 1, True)


class TestLookups:
    LOOKUP = 'Lookup("SELECT %s", database="south")'

    def columns(self, more: str = "") -> str:
        return f'Column("id"), Column("name", lookup={self.LOOKUP}{more}), Column("city")'

    def test_lookups_run_once_a_batch(self, make: Make) -> None:
        lookups = []

        def resolve(column: str, values: set[Any]) -> dict[Any, Any]:
            lookups.append((column, values))
            return {"a": "A", "b": None}

        sink = make(columns=self.columns(), resolve=resolve)
        names = ["a", "b", "c", None, "a"]
        batch = sink.apply(*(create(**ROW | {"name": name}) for name in names))
        assert lookups == [("name", {"a", "b", "c"})]
        assert [c.values[1] for c in batch.changes] == ["A", None, None, None, "A"]

    def test_batch_without_keys_runs_no_lookup(self, make: Make) -> None:
        sink = make(columns=self.columns(), resolve=None, found={"name": {None: "wrong"}})
        assert sink.send(create(**ROW | {"name": None})).row["name"] is None
        assert sink.send(delete(**ROW)).leaves

    def test_a_required_one_must_find_something(self, make: Make) -> None:
        sink = make(columns=self.columns(", required=True"), found={"name": {"a": "A"}})
        assert sink.send(create(**ROW | {"name": "a"})).row["name"] == "A"
        assert "'name' found nothing" in str(refused(sink.send(create(**ROW | {"name": "c"}))))

    def test_required_null_is_not_looked_up(self, make: Make) -> None:
        sink = make(columns=self.columns(", required=True"), found={"name": {None: "wrong"}})
        assert "'name' breaks rule 'required'" in str(
            refused(sink.send(create(**ROW | {"name": None})))
        )

    def test_one_that_has_to_exist_may_be_null(self, make: Make) -> None:
        sink = make(columns=self.columns(", must_resolve=True"), found={"name": {"a": "A"}})
        rows = [ROW | {"name": name} for name in ("a", None)]
        assert [sink.send(create(**row)).row["name"] for row in rows] == ["A", None]
        assert sink.send(create(**ROW | {"name": "c"})).waiting

    def test_failed_event_keeps_its_old_key(self, make: Make) -> None:
        declared = "conflict=source_wins(), needs_before_image=True,"
        sink = make(declared=declared, columns=self.columns(", required=True"))
        refused(sink.send(update(ROW, id="2")))

    @pytest.mark.parametrize("found", [{5: "A"}, {"5": "A"}])
    def test_a_number_is_found_by_its_text(self, make: Make, found: dict) -> None:
        sink = make(columns=self.columns(), found={"name": found})
        assert sink.send(create(**ROW | {"name": 5})).row["name"] == "A"

    def test_failed_lookup_value_fails_alone(self, make: Make) -> None:
        def resolve(_: str, values: set[Any]) -> dict[Any, Any]:
            if SECRET in values:
                raise EventError("refused")
            return {value: value.upper() for value in values}

        sink = make(columns=self.columns(), resolve=resolve)
        names = ["a", "b", SECRET, "c", SECRET]
        batch = sink.apply(*(create(**ROW | {"name": name}) for name in names))
        assert [c.values[1] for c in batch.changes] == ["A", "B", "C"]
        assert [dead_letter.message.offset for dead_letter in batch.dead_letters] == [2, 4]

    def test_database_that_does_not_answer_is_nobodys_fault(self, make: Make) -> None:
        def resolve(_column: str, _values: set[Any]) -> dict[Any, Any]:
            raise RetriableError("not now")

        with pytest.raises(RetriableError):
            make(columns=self.columns(), resolve=resolve).send(create(**ROW))


class TestKeysThatAreLookedUp:
    """Rows are known by what was found before anybody asks which of them are the same."""

    DECLARED = "conflict=source_wins(), on_delete=Ignore(), on_remove=Ignore(),"
    COLUMNS = (
        'Column("id", all_of("id", "name"), lookup=Lookup("SELECT %s, %s", database="south")'
        '{more}), Column("city")'
    )
    FOUND: ClassVar = {"id": {("1", "Anna"): "A", ("2", "Anna"): "A", (None, "Maya"): "M"}}

    def sink(self, make: Make, more: str = "", declared: str = DECLARED) -> Harness:
        return make(declared=declared, columns=self.COLUMNS.format(more=more), found=self.FOUND)

    def test_the_key_is_what_was_found(self, make: Make) -> None:
        rows = ROW, ROW | {"id": "2"}, ROW | {"id": None, "name": "Maya"}
        changes = self.sink(make).changes(*(create(**row) for row in rows))
        assert [change.key for change in changes] == [("A",), ("A",), ("M",)]
        assert [change.values[0] for change in changes] == ["A", "A", "M"]

    @pytest.mark.parametrize(
        ("more", "kind"), [("", EventError), (", required=True", WaitingError)], ids=str
    )
    def test_without_one_there_is_nothing_to_write(
        self, make: Make, more: str, kind: type[EventError]
    ) -> None:
        error = refused(self.sink(make, more).send(create(**ROW | {"name": "Bela"})))
        assert type(error) is kind
        assert "column 'id' found nothing" in str(error)

    def test_removal_always_has_the_whole_key(self, make: Make) -> None:
        sink = self.sink(make, declared=self.DECLARED + "needs_before_image=True,")
        moved = sink.apply(update(ROW, id="2"), delete(**ROW))
        assert [(type(change), change.key) for change in moved.changes] == [(Write, ("A",))]
        assert moved.counts == {"filtered": 1}, "the update's outcome is that of its row"

    def test_an_unchanged_large_value_leaves_the_key_alone(self, make: Make) -> None:
        sink = self.sink(make, declared=self.DECLARED + "needs_before_image=True,")
        (change,) = sink.changes(create(id="1", name="Anna"))
        assert (change.key, change.values, change.partial) == (("A",), ("A", ABSENT), True)


def test_fault_of_a_global_plugin_names_it(make: Make, site: Any) -> None:
    """It joins every mapping, and most of them do not read what it looks at."""
    site.plugin(
        "shared",
        """
from sink_runner.plugin import FilterResult, hookimpl

@hookimpl
def sink_filter(event):
    return FilterResult.PASS if event.row["colour"] else FilterResult.DROP
""",
    )
    fault = str(refused(make(beside=["shared"]).send(create(**ROW))))
    assert "sink_filter of plugin 'shared'" in fault
    assert "column 'colour' is not read by this mapping: add it to extra_columns" in fault


def test_changes_keep_the_order_of_their_events(make: Make) -> None:
    changes = make().changes(create(**ROW), delete(**ROW), create(**ROW))
    assert [type(change) for change in changes] == [Write, Removal, Write]


@pytest.mark.parametrize(
    ("code", "declared"), [("", "conflict=source_wins(),"), (FILTER, FILTERED)]
)
def test_changes_stand_in_the_order_of_commits(make: Make, code: str, declared: str) -> None:
    sink = make(code, declared)
    messages = sink._samples.messages(create(**ROW).at(NOW, 150))
    (decoded,) = sink._samples.decode(messages)
    event = decoded._replace(sequence='["260","150"]', order=3)
    (change,) = sink.parts.route.apply([(messages[0], event)]).changes
    assert change.position == (260, 3)


class TestNarrowColumns:
    """A value that the target's column would change is a dead letter that names the column."""

    TYPES: ClassVar = {"name": "integer", "city": "numeric(6,2)", "at": "smallint"}

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("name", 3_000_000_000),
            ("name", -2_147_483_649),
            ("at", 99_999),
            ("city", Decimal("1.555")),
            ("city", Decimal(10_000)),
        ],
    )
    @pytest.mark.parametrize(
        "code", ["", "\n@hookimpl\ndef sink_map(event, row):\n    return row\n"]
    )
    def test_value_out_of_range_names_its_column(
        self, make: Make, code: str, column: str, value: Any
    ) -> None:
        sink = make(code, types=self.TYPES)
        good = {**ROW, "name": 7, "city": Decimal("1.50"), "at": 5}
        assert sink.send(create(**good)).error is None
        error = refused(sink.send(create(**good | {column: value})))
        assert str(error).startswith(f"column {column!r}: ")
        assert str(value) not in str(error)

    def test_before_image_out_of_range_does_not_block(self, make: Make) -> None:
        """The old row was a dead letter; the corrected one is applied whole."""
        sink = make(declared=MERGED, types={**self.TYPES, "name": "smallint"})
        good = {**ROW, "name": 7, "city": Decimal("1.50"), "at": 5}
        (change,) = sink.changes(update({**good, "name": 99_999}, name=8))
        assert isinstance(change, Write)
        assert change.values[1] == 8
