"""Format dead letters for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..dlq.stored_dead_letters import Count, StoredDeadLetter
from .explanation import Explained

if TYPE_CHECKING:
    from .row import RowExplanation


def dead_letters_table(found: Iterable[tuple[str, StoredDeadLetter]]) -> Table:
    """Return a table with a line for each dead letter."""
    table = _table("dead letters, the oldest first", "id", "mapping", "status", "failed", "error")
    table.add_column("tries", justify="right")
    for head in ("why", "from"):
        table.add_column(head, overflow="fold")
    for database, dead_letter in found:
        state = f" {dead_letter.sqlstate}" if dead_letter.sqlstate else ""
        cells = (
            f"{database}/{dead_letter.dlq_id}",
            dead_letter.flow,
            dead_letter.status,
            _moment(dead_letter.created_at),
            dead_letter.error_class + state,
            str(dead_letter.attempts),
            dead_letter.error_message,
            _place(dead_letter),
        )
        table.add_row(*map(Text, cells))  # an error message may look like markup
    return table


def summary_table(found: Iterable[tuple[str, Count]]) -> Table:
    """Return a table with a line for each mapping, error and status."""
    table = _table("dead letters", "database", "mapping", "status", "error")
    table.add_column("count", justify="right")
    for head in ("first", "last"):
        table.add_column(head)
    for database, count in found:
        state = f" {count.sqlstate}" if count.sqlstate else ""
        error = count.error_class + state
        moments = _moment(count.first), _moment(count.last)
        cells = (database, count.mapping, count.status, error, str(count.dead_letters), *moments)
        table.add_row(*map(Text, cells))
    return table


def dead_letter_lines(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of a dead letter, then its row and its trace."""
    rows = {"key", "before", "after"}
    last = rows | {"stack_trace"}
    for name, value in fields.items():
        if name not in last and value is not None:
            yield f"{name:16} {value}"
    for name in ("key", "before", "after"):
        if fields.get(name) is not None:
            yield f"{name}:"
            yield from (f"  {column:24} {value}" for column, value in fields[name].items())
    yield "trace:"
    yield from (f"  {line}" for line in fields["stack_trace"].splitlines())


def row_lines(found: RowExplanation) -> Iterator[str]:
    """Yield the reason, the source row and the newest event, the target's row, then the facts."""
    yield found.decision.sentence
    for one in (found.source_row, found.event):
        if one is not None:
            yield from explained_lines(replace(one, target=None))
    yield from _target_lines(found.target)
    yield from found.facts.lines()


def explained_lines(found: Explained) -> Iterator[str]:
    """Yield the reason, a line for each step, then the rows that would be written."""
    if found.decision is not None:
        yield found.decision.sentence
    yield f"{found.id} of {found.mapping}, through the current pipeline; nothing is written"
    for step in found.steps:
        yield f"  {step.name:8} {step.state:8} {step.detail}"
    for row in found.rows:
        yield f"{row['does']}:"
        yield from (f"  {column:24} {value}" for column, value in row["row"].items())
    yield from _target_lines(found.target)


def _target_lines(row: Mapping[str, Any] | None) -> Iterator[str]:
    if row is not None:
        yield "target:"
        yield from (f"  {column:24} {value}" for column, value in row.items())


def progress() -> Progress:
    """Return a progress bar, which shows nothing if stderr is not a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _moment(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")


def _place(dead_letter: StoredDeadLetter) -> str:
    if dead_letter.of_batch:
        return f"a batch of {dead_letter.topic}"
    return f"{dead_letter.topic} {dead_letter.partition}@{dead_letter.offset}"
