"""Waits for a condition in a test."""

import time
from collections.abc import Callable
from typing import Any

SECONDS = 60.0
"""A wait ends early; only a failing test takes this long, also on a machine under load."""


def eventually(
    condition: Callable[[], Any], seconds: float = SECONDS, *, pause: float = 0.02
) -> Any:
    """Wait until `condition` returns a true value, and return it; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(pause)
    return found
