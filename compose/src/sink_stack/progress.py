"""Reports progress: a live line on a terminal, plain lines elsewhere.

It uses the standard library only, since it also runs before anything is installed.
"""

import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_LIVE_SECONDS = 0.5
_PLAIN_SECONDS = 5
_CLEAR = "\r\x1b[K"

# As Maven 3.8 and 3.9 name what they are downloading.
PARTIAL = re.compile(r"\.part$|\.\w+\.tmp$")

Describe = Callable[[], str]


class Reporter:
    """Prints steps with the seconds since the command began."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.steps = 0
        self._descriptions: list[Describe] = []
        self._thread: threading.Thread | None = None

    def step(self, text: str) -> None:
        self.steps += 1
        self._print(f"{self._stamp()}  {text}\n")

    @contextmanager
    def watching(self, describe: Describe) -> Iterator[None]:
        """Show the text of `describe`, repeatedly, while the block runs.

        Blocks of several threads share one line.
        """
        with self._lock:
            self._descriptions.append(describe)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._descriptions.remove(describe)
            self.step(describe())

    @contextmanager
    def downloading(self, label: str, folder: Path, expected: int | None = None) -> Iterator[None]:
        """Show how many MB arrive in `folder` while the block runs, and how many are expected."""
        began, arrived = time.monotonic(), Arrivals(folder)
        of = f" of {expected:,}" if expected else ""

        def line() -> str:
            seconds = time.monotonic() - began
            return f"{label}: {arrived.bytes() / 1e6:,.0f}{of} MB, {seconds:.0f} s"

        with self.watching(line):
            yield

    def _watch(self) -> None:
        live = self._stream.isatty()
        while True:
            with self._lock:
                descriptions = list(self._descriptions)
                if not descriptions:
                    self._thread = None
                    return
            line = f"{self._stamp()}  {'; '.join(describe() for describe in descriptions)}"
            if live:
                self._print(line[: shutil.get_terminal_size().columns - 1])
            else:
                self._print(f"{line}\n")
            time.sleep(_LIVE_SECONDS if live else _PLAIN_SECONDS)

    def _stamp(self) -> str:
        return f"{time.monotonic() - self._began:6.1f}s"

    def _print(self, text: str) -> None:
        clear = _CLEAR if self._stream.isatty() else ""
        with self._lock:
            self._stream.write(clear + text)
            self._stream.flush()


class Arrivals:
    """Bytes that other processes write into a folder, whether or not they stay there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = _sizes(folder)
        self._most: dict[Path, int] = {}

    def bytes(self) -> int:
        """Return the sum of each file's largest growth: an unpacked archive is deleted."""
        for path, size in _sizes(self._folder).items():
            grown = size - self._before.get(path, 0)
            self._most[path] = max(self._most.get(path, 0), grown)
        return sum(self._most.values())


def _sizes(folder: Path) -> dict[Path, int]:
    """Return the size of each file; a partial download has the name of the complete file."""
    sizes = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                final = path.with_name(PARTIAL.sub("", path.name))
                sizes[final] = path.stat().st_size
        except FileNotFoundError:
            continue  # Maven renames a part file once it is complete
    return sizes
