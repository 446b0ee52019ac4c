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
    """Call `work` now and `seconds` after each return; call `close` after the block.

    The thread itself calls `close`, because a client may not allow a second thread while a call
    waits.  If `work` does not return, its thread ends with the process.
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
