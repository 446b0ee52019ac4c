"""Tables on terminals of each width: no word is cut."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

import sink_runner
from sink_runner.cli.tables import print_table

HEADS = ("mapping", "source column", "target column", "reader", "sees")
ROW = (
    "golden-records",
    "golden_records.jan_aadhaar_number",
    "profile_data.jan_aadhaar_number",
    "group 'smart_citizen'",
    "show_last({col}, 4, '****-****-')",
)


def printed(width: int, *rows: tuple[str, ...]) -> str:
    table = Table(title="[b]policies[/b]", title_justify="left")
    for head in HEADS:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    file = io.StringIO()
    print_table(table, Console(file=file, width=width))
    return file.getvalue()


@given(width=st.integers(20, 200))
def test_words_are_whole_at_each_width(width: int) -> None:
    text = printed(width, ROW)
    for word in {word for cell in (*HEADS, *ROW) for word in cell.split()}:
        assert word in text, word


def test_wide_terminal_has_a_table() -> None:
    assert "┃" in printed(200, ROW)


def test_narrow_terminal_has_a_paragraph_for_each_row() -> None:
    lines = printed(80, ROW, ROW).splitlines()
    assert lines[:3] == ["policies", "", "mapping        golden-records"]
    assert lines[4] == "target column  profile_data.jan_aadhaar_number"
    assert len(lines) == 1 + 2 * (1 + len(HEADS))


def test_every_table_of_the_runner_is_printed_so() -> None:
    package = Path(sink_runner.__file__).parent
    printing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Console().print(" in path.read_text() or "console.print(table" in path.read_text()
    }
    assert printing == {"cli/tables.py"}


@pytest.mark.parametrize("cell", ["[redacted]", "two\nlines", "", "[/b]"])
def test_cell_is_printed_as_it_is(cell: str) -> None:
    text = printed(60, (cell, *ROW[1:]))
    assert "mapping        " + cell.replace("\n", "\n" + " " * 15) in text
