"""Repeat work in a thread while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(name: str, work: Callable[[], object], seconds: float) -> Iterator[None]:
    """Do the work at once, and `seconds` after each time it has ended."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()
            stop.wait(seconds)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)
