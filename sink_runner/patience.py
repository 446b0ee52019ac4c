"""What to do while the world says "not now": wait, ask again, and stop when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from .errors import FencedError, RetriableError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a worker waits for what is not its fault; all times in seconds."""

    steps: Sequence[float]
    maintenance: float
    remember: timedelta
    company: float = 0.0
    """How long rows wait for others to be written with."""
    enough: int = 1
    """So many rows wait for no others."""


def insist(work: Callable[[bool], T], steps: Sequence[float], stop: threading.Event, log: Any) -> T:
    """Do it, again and again while the world says "not now"; `work` is told if it is again.

    `steps` are the seconds in between, the last of which repeats.
    """
    again = False
    for delay in _delays(steps):
        try:
            return work(again)
        except RetriableError as fault:
            again = True
            log.warning("waiting", reason=str(fault), seconds=delay)
            if stop.wait(delay):
                raise FencedError("told to stop while waiting") from fault
    raise AssertionError


def _delays(steps: Sequence[float]) -> Iterator[float]:
    yield from steps
    while True:
        yield steps[-1]
