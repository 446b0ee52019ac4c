"""Reports how far a load is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def families(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what to call with each batch of families."""
    if not console.is_terminal:
        yield _Lines(console, total).advance
        return
    columns = ("families", BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("left"), console=console) as progress:
        task = progress.add_task("families", total=total)
        yield lambda count: progress.advance(task, count)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


class _Lines:
    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._began = self._reported = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if self._done < self._total and now - self._reported < _SECONDS_BETWEEN_LINES:
            return
        self._reported = now
        rate = self._done / max(now - self._began, 1e-9)
        left = (self._total - self._done) / rate
        self._console.print(
            f"{self._done:,} of {self._total:,} families, {rate:,.0f}/s, {left:.0f} s left",
            highlight=False,
        )
