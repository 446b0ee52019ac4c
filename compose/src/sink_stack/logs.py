"""Prints what the parts wrote."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import StackError
from .layout import Layout

_POLL_SECONDS = 0.3


def files(layout: Layout, part: str | None) -> list[Path]:
    """Return the log of one part, or all logs."""
    found = sorted(layout.logs.glob("*.log"))
    if part is None:
        return found
    chosen = [path for path in found if path.stem == part]
    if not chosen:
        names = ", ".join(path.stem for path in found) or "none yet"
        raise StackError(f"{part!r} has no log; parts with a log: {names}")
    return chosen


def tail(path: Path, count: int) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.splitlines()[-count:]


def follow(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Lines that are written from now on, each with its part; never ends."""
    streams = {path.stem: path.open("rb") for path in paths}
    try:
        for stream in streams.values():
            stream.seek(0, 2)
        while True:
            for part, stream in streams.items():
                for line in _complete_lines(stream):
                    yield part, line
            time.sleep(_POLL_SECONDS)
    finally:
        for stream in streams.values():
            stream.close()


def _complete_lines(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline():
        if not line.endswith(b"\n"):
            stream.seek(-len(line), 1)  # the rest is being written
            return
        yield line.decode("utf-8", errors="replace").rstrip("\n")
