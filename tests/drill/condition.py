"""The condition of one alert."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from .site import Site

Repeat = Callable[[], object]


def once() -> None:
    """Do nothing: the cause lasts until it is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How an alert is caused.

    `cause` begins the condition and removes it after its block.  What it yields is called until
    the alert fires, for a condition that lasts only while something happens again and again.
    """

    alert: str
    text: str
    cause: Callable[[Site], AbstractContextManager[Repeat]]
    seconds: float = 90
    """How long the alert may take to fire, and to clear."""
    prepare: Callable[[Site], None] | None = None
    """Called when the drill begins."""
