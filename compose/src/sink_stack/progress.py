"""Tells a waiting person what goes on: a live line on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console


class Reporter:
    """Prints steps with the seconds since the command began."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        self.console.print(f"{self.elapsed:6.1f}s  {text}", markup=False, soft_wrap=True)

    @contextmanager
    def downloading(self, label: str, folder: Path) -> Iterator[None]:
        """Show how many bytes arrive in `folder` while the block runs."""
        began, before = time.monotonic(), folder_bytes(folder)
        done, most = threading.Event(), 0

        def line() -> str:
            nonlocal most  # archives are dropped once they are unpacked
            most = max(most, folder_bytes(folder) - before)
            return f"{label}: {most / 1e6:,.1f} MB, {time.monotonic() - began:.0f} s"

        watch = self._live if self.console.is_terminal else self._plain
        thread = threading.Thread(target=watch, args=(done, line), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.step(line())

    def _live(self, done: threading.Event, line: Callable[[], str]) -> None:
        with self.console.status(line()) as status:
            while not done.wait(0.5):
                status.update(line())

    def _plain(self, done: threading.Event, line: Callable[[], str]) -> None:
        while not done.wait(10):
            self.step(line())


def folder_bytes(folder: Path) -> int:
    """Bytes in all files below a folder that other processes are writing to."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # Maven renames a part file once it is complete
    return total
