"""From events to changes: echoes, filters, changes of the key, reviews and merges."""

import math

import pytest

from sink_runner.errors import FatalError, StepError
from sink_runner.model.changes import READ, Removal, Write
from sink_runner.plugin import ABSENT, Delete, Review, SetColumns
from sink_runner.testing import NOW, Harness, Sample, create, delete, snapshot, update

from .people import FILTER, FILTERED, MERGED, ROW, Make, error_of


class TestEchoes:
    def test_writes_of_opposite_mapping_are_echoes(self, make: Make) -> None:
        sink = make()
        sink.parts.route._echoes = ("sink/back/",)
        for origin in ("sink/back/0", "sink/back/15"):
            assert sink.apply(create(**ROW).by(origin)).counts == {"echo": 1}
        for origin in ("sink/backwards/0", "sink/bac/0", "xsink/back/0", "other", None):
            assert len(sink.apply(create(**ROW).by(origin)).changes) == 1

    def test_echoes_of_other_runners_are_dropped(self, make: Make) -> None:
        sink = make()
        sink.parts.route._feeds = "sink/remote/0".__eq__
        assert sink.apply(create(**ROW).by("sink/remote/0")).counts == {"echo": 1}
        assert len(sink.apply(create(**ROW).by("sink/other/0")).changes) == 1

    def test_deletion_can_be_echo(self, make: Make) -> None:
        sink = make()
        sink.parts.route._echoes = ("sink/back/",)
        assert sink.apply(delete(**ROW).by("sink/back/0")).changes == []


class TestFilterResults:
    @pytest.fixture
    def sink(self, make: Make) -> Harness:
        return make(FILTER, FILTERED)

    def test_pass_writes_row(self, sink: Harness) -> None:
        assert sink.send(create(**ROW)).row["name"] == "Anna"

    def test_drop_is_counted_as_filtered(self, sink: Harness) -> None:
        batch = sink.apply(create(**ROW | {"result": "DROP"}))
        assert (batch.changes, batch.dead_letters, batch.counts) == ([], [], {"filtered": 1})

    def test_remove_deletes_row(self, sink: Harness) -> None:
        assert sink.send(update(ROW, result="REMOVE")).leaves == [(("1",), Delete())]

    def test_remove_with_new_key_deletes_old_row(self, sink: Harness) -> None:
        changed = update(ROW, id="2", result="REMOVE")
        assert sink.send(changed).leaves == [(("1",), Delete())]

    def test_remove_converts_only_the_key(self, make: Make) -> None:
        columns = 'Column("id"), Column("name", required=True, convert=int)'
        sink = make(FILTER, FILTERED, columns)
        removed = update(ROW, name="no number", result="REMOVE")
        assert sink.send(removed).leaves == [(("1",), Delete())]

    def test_deletion_is_not_filtered(self, sink: Harness) -> None:
        assert len(sink.send(delete(**ROW | {"result": "DROP"})).leaves) == 1

    def test_error_names_undeclared_column(self, make: Make) -> None:
        sink = make(FILTER)
        error = error_of(sink.send(create(**ROW)))
        assert str(error).startswith("sink_filter of plugin 'people' raised KeyError: column '")
        assert str(error).endswith("is not read by this mapping: add it to extra_columns")

    @pytest.mark.parametrize("answer", ["True", "None", "'PASS'"])
    def test_other_return_value_is_error(self, make: Make, answer: str) -> None:
        sink = make(f"\n@hookimpl\ndef sink_filter(event):\n    return {answer}\n")
        error = error_of(sink.send(create(**ROW)))
        assert isinstance(error, StepError)
        assert (error.plugin, error.step) == ("people", "sink_filter")


class TestKeyChanges:
    def test_key_change_is_removal_and_write(self, make: Make) -> None:
        key_change = 'on_key_change=SetColumns({"name": "x"}),'
        sink = make(declared="conflict=source_wins(), needs_before_image=True, " + key_change)
        removal, write = sink.changes(update(ROW, id="2"))
        assert (removal.key, removal.action, write.key) == (
            ("1",),
            SetColumns({"name": "x"}),
            ("2",),
        )

    def test_key_change_uses_on_remove_by_default(self, make: Make) -> None:
        sink = make(declared="conflict=source_wins(), needs_before_image=True, on_remove=Ignore(),")
        removal, _ = sink.changes(update(ROW, id="2"))
        assert type(removal.action).__name__ == "Ignore"

    def test_key_change_of_filtered_row_removes_nothing(self, make: Make) -> None:
        sink = make(FILTER, FILTERED)
        (write,) = sink.changes(update(ROW | {"result": "DROP"}, id="2", result=None))
        assert isinstance(write, Write)

    def test_row_without_key_is_error(self, make: Make) -> None:
        error = error_of(make().send(create(**ROW | {"id": None})))
        assert str(error) == "key column 'id' is NULL or missing"

    def test_deletion_of_row_without_key_is_ignored(self, make: Make) -> None:
        batch = make().apply(delete(**ROW | {"id": None}))
        assert (batch.changes, batch.dead_letters) == ([], [])

    def test_deletion_without_before_image_is_error(self, make: Make) -> None:
        sink = make()
        error = error_of(sink.send(Sample("d", None, {"name": "Anna"})))
        assert str(error).startswith("key column 'id' is not in the event: give the source table")
        error_of(sink.send(Sample("d", None, None)))

    def test_truncation_stops_mapping(self, make: Make) -> None:
        with pytest.raises(FatalError, match="was truncated"):
            make().send(Sample("t", None))


class TestReview:
    @pytest.fixture
    def sink(self, make: Make) -> Harness:
        return make(FILTER, FILTERED + "on_delete=Review(),")

    def test_deleted_row_is_for_review(self, sink: Harness) -> None:
        assert sink.send(delete(**ROW)).leaves == [(("1",), Review())]

    @pytest.mark.parametrize("result", ["DROP", "REMOVE"])
    def test_deleted_row_that_was_filtered_is_ignored(self, sink: Harness, result: str) -> None:
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
    def test_row_new_to_target_has_all_columns(self, sink: Harness, sample: Sample) -> None:
        assert [w.keep for w in sink.changes(sample) if isinstance(w, Write)] == [0]

    def test_snapshot_row_is_marked_as_read(self, sink: Harness) -> None:
        assert [w.keep for w in sink.changes(snapshot(**ROW)) if isinstance(w, Write)] == [READ]

    def test_column_missing_in_both_images_is_kept(self, make: Make) -> None:
        sink = make(declared=MERGED)
        without = {name: value for name, value in ROW.items() if name != "name"}
        (write,) = sink.changes(update(without, city="Jaipur"))
        assert (write.values[1], write.keep, write.partial) == (ABSENT, 1 << 1, True)

    @pytest.mark.parametrize(
        ("before", "after", "keep"),
        [(0.0, -0.0, 0), (-0.0, 0.0, 0), (math.nan, math.nan, 1 << 1), (1.5, 1.5, 1 << 1)],
    )
    def test_doubles_are_compared_by_stored_bits(
        self, make: Make, before: float, after: float, keep: int
    ) -> None:
        """0 and -0 compare as equal but are stored differently; NaN is the reverse."""
        sink = make(declared=MERGED, types={"name": "float8"})
        (write,) = sink.changes(update({**ROW, "name": before}, name=after, city="Jaipur"))
        assert write.keep == keep


def test_changes_keep_order_of_events(make: Make) -> None:
    changes = make().changes(create(**ROW), delete(**ROW), create(**ROW))
    assert [type(change) for change in changes] == [Write, Removal, Write]


@pytest.mark.parametrize(
    ("code", "declared"), [("", "conflict=source_wins(),"), (FILTER, FILTERED)]
)
def test_position_is_commit_lsn_and_order(make: Make, code: str, declared: str) -> None:
    sink = make(code, declared)
    messages = sink._samples.messages(create(**ROW).at(NOW, 150))
    (decoded,) = sink._samples.decode(messages)
    event = decoded._replace(sequence='["260","150"]', order=3)
    (change,) = sink.parts.route.apply([(messages[0], event)]).changes
    assert change.position == (260, 3)
