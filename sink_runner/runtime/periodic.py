"""Repeat work in a thread while a block runs, and log its failures once an outage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
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


class Outages:
    """Knows which servers could not be read, so that an outage is logged once."""

    def __init__(self) -> None:
        self._away: set[Hashable] = set()

    def begins(self, server: Hashable, reason: str) -> bool:
        """Return whether an outage begins; `reason` is why the read failed, "" if it did not.

        The reasons of one outage vary.
        """
        if not reason:
            self._away.discard(server)
            return False
        begins = server not in self._away
        self._away.add(server)
        return begins
