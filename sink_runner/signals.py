"""Handle SIGTERM and SIGINT during a block."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


def stopped_by_signals(stop: threading.Event) -> AbstractContextManager[None]:
    """Set `stop` at a signal during the block."""
    return handled_signals(stop.set)


@contextmanager
def handled_signals(handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` at a signal during the block; restore the previous handlers after it."""

    def receive(_number: int, _frame: Any) -> None:
        handle()

    previous = {
        number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
