"""Repeat work in a thread while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(
    name: str,
    work: Callable[[], object],
    seconds: float,
    close: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Do the work at once, and `seconds` after each time it has ended; `close` ends the thread.

    What the work uses is closed by the thread itself: a client may not bear another one beside a
    call that waits.  Work that does not return is left to the end of the process.
    """
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()
            stop.wait(seconds)
        close()

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)
