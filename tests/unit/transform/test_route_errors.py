"""Errors of conversions and hooks make their event a dead letter."""

from decimal import Decimal
from typing import Any, ClassVar

import pytest

from sink_runner.errors import FatalError, RetriableError
from sink_runner.model.changes import Write
from sink_runner.testing import Sample, create, delete, update

from .people import FILTER, FILTERED, MERGED, ROW, SECRET, Make, error_of


class TestHookErrors:
    @pytest.mark.parametrize(
        "sample",
        [create(**ROW | {"id": SECRET}), delete(**ROW | {"id": SECRET})],
        ids=["create", "delete"],
    )
    def test_failed_conversion_is_dead_letter(self, make: Make, sample: Sample) -> None:
        sink = make(columns='Column("id", convert=int), Column("name")')
        good = create(**ROW | {"id": "2"})
        batch = sink.apply(good, sample, good)
        assert len(batch.changes) == 2
        assert [str(dead_letter.error) for dead_letter in batch.dead_letters] == [
            "columns of plugin 'mapping' raised ValueError"
        ]

    def test_before_image_that_fails_conversion_is_dead_letter(self, make: Make) -> None:
        sink = make(FILTER, FILTERED, 'Column("id", convert=int), Column("name")')
        for sample in (update(ROW | {"id": SECRET}, id="1"), update(ROW | {"id": "x"}, id="x")):
            assert SECRET not in str(error_of(sink.send(sample)))

    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_message_of_hook_error_is_not_copied(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    raise ValueError('{SECRET}')\n")
        error = error_of(sink.send(create(**ROW)))
        name = hook.partition("(")[0]
        assert str(error) == f"{name} of plugin 'people' raised ValueError"

    @pytest.mark.parametrize("kind", [RetriableError, FatalError])
    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_hook_may_raise_transient_or_fatal_error(
        self, make: Make, hook: str, kind: type
    ) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    raise {kind.__name__}('not now')\n")
        with pytest.raises(kind, match="not now"):
            sink.send(create(**ROW))

    @pytest.mark.parametrize(
        "hook", ["sink_filter(event)", "sink_map(event, row)", "sink_mask(row)"]
    )
    def test_base_exception_of_hook_is_dead_letter(self, make: Make, hook: str) -> None:
        """The panic of an extension in Rust is not an `Exception`; neither is SystemExit."""
        panic = f"class Panic(BaseException): pass\n    raise Panic('{SECRET}')"
        sink = make(f"\n@hookimpl\ndef {hook}:\n    {panic}\n")
        error = error_of(sink.send(create(**ROW)))
        assert str(error) == f"{hook.partition('(')[0]} of plugin 'people' raised Panic"

    def test_exit_in_conversion_is_dead_letter(self, make: Make) -> None:
        sink = make("import sys", columns='Column("id"), Column("name", convert=sys.exit)')
        assert "raised SystemExit" in str(error_of(sink.send(create(**ROW))))

    @pytest.mark.parametrize("hook", ["sink_map(event, row)", "sink_mask(row)"])
    def test_hook_that_drops_column_is_named(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    del row['city']\n    return row\n")
        error = error_of(sink.send(create(**ROW)))
        name = hook.partition("(")[0]
        assert str(error) == f"{name} of plugin 'people' returned no value for column 'city'"

    def test_filter_cannot_change_array(self, make: Make) -> None:
        code = "event.row['name'].append('x')\n    return FilterResult.PASS"
        sink = make(f"\n@hookimpl\ndef sink_filter(event):\n    {code}\n", types={"name": "text[]"})
        assert sink.send(create(**ROW | {"name": ["a", None]})).row["name"] == '{"a",NULL}'

    @pytest.mark.parametrize("hook", ["sink_map(event, row)", "sink_mask(row)"])
    def test_hook_without_return_value_is_named(self, make: Make, hook: str) -> None:
        sink = make(f"\n@hookimpl\ndef {hook}:\n    pass\n")
        assert "'people' returned None" in str(error_of(sink.send(create(**ROW))))


def test_error_names_global_plugin(make: Make, site: Any) -> None:
    """A global plugin is in every mapping, also in those that do not read its columns."""
    site.plugin(
        "shared",
        """
from sink_runner.plugin import FilterResult, hookimpl

@hookimpl
def sink_filter(event):
    return FilterResult.PASS if event.row["colour"] else FilterResult.DROP
""",
    )
    error = str(error_of(make(beside=["shared"]).send(create(**ROW))))
    assert "sink_filter of plugin 'shared'" in error
    assert "column 'colour' is not read by this mapping: add it to extra_columns" in error


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
        error = error_of(sink.send(create(**good | {column: value})))
        assert str(error).startswith(f"column {column!r}: ")
        assert str(value) not in str(error)

    def test_before_image_out_of_range_is_ignored(self, make: Make) -> None:
        """The row before the change was a dead letter; the corrected row is applied completely."""
        sink = make(declared=MERGED, types={**self.TYPES, "name": "smallint"})
        good = {**ROW, "name": 7, "city": Decimal("1.50"), "at": 5}
        (change,) = sink.changes(update({**good, "name": 99_999}, name=8))
        assert isinstance(change, Write)
        assert change.values[1] == 8
