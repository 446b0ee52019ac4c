"""Print a table for people, on a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000


def print_table(
    table: Table, console: Console | None = None, *, extra: Sequence[str] = (), wide: bool = False
) -> None:
    """Print the table; where it would have to cut words, a paragraph for each row.

    The columns that `extra` names are printed if `wide`.
    """
    console = console or Console()
    if extra and not wide:
        table.columns = [column for column in table.columns if column.header not in extra]
        table.caption = Text(f"--wide adds {', '.join(extra)}", "table.caption")
        table.caption_justify = "left"
    _wrap_widest(table)
    options = console.options.update(width=_ANY_WIDTH, max_width=_ANY_WIDTH)
    narrowest = Measurement.get(console, options, table).minimum
    if narrowest <= console.width:
        console.print(table)
    else:
        console.print(Group(*_paragraphs(table)), soft_wrap=True)


def _wrap_widest(table: Table) -> None:
    """Let only the widest column have lines: rich narrows each one, whatever its words are."""
    texts = {
        place: [_text(cell).plain for cell in (column.header, *column.cells)]
        for place, column in enumerate(table.columns)
    }
    widths = {
        place: max(cell_len(line) for cell in cells for line in cell.split("\n"))
        for place, cells in texts.items()
    }
    widest = max(widths, key=widths.__getitem__)
    for place, column in enumerate(table.columns):
        column.no_wrap, column.min_width = place != widest, widths[place]
    words = " ".join(texts[widest]).split()
    table.columns[widest].min_width = max(map(cell_len, words), default=0)


def _paragraphs(table: Table) -> Iterator[Text]:
    """The title, then a line for each cell, behind the head of its column."""
    if table.title:
        yield _text(table.title)
    heads = [_text(column.header).plain for column in table.columns]
    indent = max(map(len, heads), default=0) + 2
    for row in zip(*(column.cells for column in table.columns), strict=True):
        yield Text()
        for head, cell in zip(heads, row, strict=True):
            lines = _text(cell).split(allow_blank=True) or [Text()]
            yield Text(head.ljust(indent)) + Text("\n" + " " * indent).join(lines)
    if table.caption:
        yield _text(table.caption)


def _text(cell: object) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text.from_markup(str(cell))
