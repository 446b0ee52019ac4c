"""Tune the interpreter for two busy threads and batches of many objects."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds until a computing thread yields to a waiting one.  A batch makes a dozen queries, each
# shorter than the default of 5 ms that its thread would wait.
_SWITCH = 0.0005
# New objects until the collector searches for cycles.  Rows form none, and one batch has more of
# them than the default threshold.
_COLLECT = 100_000


@contextmanager
def tuned() -> Iterator[None]:
    """Tune the interpreter for the block, and restore its settings afterwards."""
    switch, (young, *older) = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH)
    gc.set_threshold(_COLLECT, *older)
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(young, *older)
