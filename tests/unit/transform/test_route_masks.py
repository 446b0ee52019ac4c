"""Masks in the route, and values that hooks must not copy to other columns."""

from pathlib import Path

import pytest

from sink_runner.plugin import ABSENT
from sink_runner.testing import create, update

from .people import MERGED, ROW, SECRET, Make, error_of


class TestMasks:
    def mask(self, code: str) -> str:
        return f"\n@hookimpl\ndef sink_mask(row):\n    return row | {code}\n"

    def test_hook_may_mask_more(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'city': 'x', 'name': 'y'}"), policies=policies)
        row = sink.send(create(**ROW | {"name": SECRET})).row
        assert (row["city"], row["name"]) == ("x", "y")

    def test_hook_cannot_unmask(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'name': row['city']}"), policies=policies)
        error = error_of(sink.send(create(**ROW | {"name": SECRET, "city": SECRET})))
        assert str(error) == "sink_mask of plugin 'masks' uncovered column 'name'"

    def test_hook_cannot_unmask_number_as_text(self, make: Make, policies: Path) -> None:
        sink = make(self.mask("{'name': row['city']}"), policies=policies)
        error_of(sink.send(create(**ROW | {"name": 123456789, "city": "123456789"})))

    @pytest.mark.parametrize(
        "copy", ["event.row['name']", "f'of {event.row[\"name\"]}'", "event.before['name']"]
    )
    def test_hook_cannot_copy_masked_value(self, make: Make, policies: Path, copy: str) -> None:
        hook = f"\n@hookimpl\ndef sink_map(event, row):\n    return row | {{'city': {copy}}}\n"
        sink = make(hook, declared=MERGED, policies=policies)
        error = error_of(sink.send(update(ROW | {"name": SECRET}, city="Jaipur")))
        assert str(error) == "sink_map of plugin 'maps' carries 'name' to column 'city' unmasked"

    def test_hook_cannot_copy_masked_extra_column(self, make: Make, policies: Path) -> None:
        hook = (
            "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': event.row['name']}\n"
        )
        declared, columns = (
            'conflict=source_wins(), extra_columns=("name",),',
            'Column("id"), Column("at")',
        )
        sink = make(hook, declared=declared, columns=columns, policies=policies)
        assert SECRET not in str(error_of(sink.send(create(**ROW | {"name": SECRET}))))

    def test_equal_text_in_another_column_is_permitted(self, make: Make, policies: Path) -> None:
        hook = "\n@hookimpl\ndef sink_map(event, row):\n    row['at'] = '7'\n    return row\n"
        sink = make(hook, policies=policies)
        row = sink.send(create(**ROW | {"name": "Jaipur City", "city": "Jaipur"})).row
        assert (row["name"], row["city"], row["at"]) == ("****-****-City", "Jaipur", "7")

    def test_lookup_may_use_masked_value(self, make: Make, policies: Path) -> None:
        hook = (
            "\n@hookimpl\ndef sink_map(event, row):\n    return {**row, 'at': event.row['name']}\n"
        )
        columns = """Column("id"), Column("name"), Column("city"),
            Column("at", "at", lookup=Lookup("SELECT %s", database="south"))"""
        sink = make(hook, columns=columns, policies=policies, found={"at": {SECRET: "found"}})
        assert sink.send(create(**ROW | {"name": SECRET})).row["at"] == "found"

    def test_short_equal_text_is_not_a_copy(self, make: Make, policies: Path) -> None:
        hook = "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': 'Asha is here'}\n"
        sink = make(hook, policies=policies)
        assert sink.send(create(**ROW | {"name": "Asha"})).row["at"] == "Asha is here"
        assert sink.send(create(**ROW | {"name": "****-****-1234"})).row["name"]

    def test_row_with_absent_value_passes_hooks(self, make: Make, policies: Path) -> None:
        hooks = "\n@hookimpl\ndef sink_map(event, row):\n    return row | {'at': 'mapped'}\n"
        sink = make(hooks + self.mask("{'city': 'x'}"), policies=policies)
        (write,) = sink.changes(create(id="1", name=SECRET, at="5"))
        assert write.values[2:] == ("x", "mapped")
        (write,) = sink.changes(create(id="1", city=SECRET, at="5"))
        assert write.values == ("1", ABSENT, "x", "mapped")
        assert (write.keep, write.partial) == (1 << 1, True)
