"""Print tables and lines for people, on a terminal of any width, without cutting a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import TextWrapper

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000


def print_table(
    table: Table, console: Console | None = None, *, extra: Sequence[str] = (), wide: bool = False
) -> None:
    """Print the table, or a paragraph for each row if a table would have to cut words.

    The columns that `extra` names are printed only if `wide`.
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
        for line in _paragraphs(table, console.width):
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def print_lines(lines: Iterable[str], *, indent: int = 8, wide: bool = False) -> None:
    """Print lines; one that is too long for the terminal goes on after `indent` spaces.

    If `wide`, lines have any length.
    """
    width = _ANY_WIDTH if wide else Console().width
    for line in lines:
        for part in line.split("\n"):
            print("\n".join(_wrap(part, width, " " * indent)))


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row, with the cells of a column below each other."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _wrap_widest(table: Table) -> None:
    """Let rich wrap only the widest column: it narrows columns without regard to their words."""
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


def _paragraphs(table: Table, width: int) -> Iterator[str]:
    """Yield the title, then a line for each cell, after the head of its column."""
    if table.title:
        yield _text(table.title).plain
    heads = [_text(column.header).plain for column in table.columns]
    indent = max(map(len, heads), default=0) + 2
    for row in zip(*(column.cells for column in table.columns), strict=True):
        yield ""
        for head, cell in zip(heads, row, strict=True):
            lines = _text(cell).plain.split("\n")
            first, *rest = (part for line in lines for part in _wrap(line, width - indent))
            yield head.ljust(indent) + first
            yield from (" " * indent + part for part in rest)
    if table.caption:
        yield _text(table.caption).plain


def _wrap(line: str, width: int, indent: str = "") -> list[str]:
    wrapper = TextWrapper(
        max(width, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(line) or [""]


def _text(cell: object) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text.from_markup(str(cell))
