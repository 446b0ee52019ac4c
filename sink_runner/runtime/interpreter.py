"""Tune the interpreter for two busy threads and batches of many objects."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds after which a computing thread yields to a waiting one.  A batch makes a dozen queries;
# after each, its thread would wait up to the default of 5 ms, longer than the query takes.
_SWITCH_SECONDS = 0.0005
# New objects after which the garbage collector searches for cycles.  Rows form no cycles, and one
# batch has more rows than the default threshold.
_GC_THRESHOLD = 100_000


@contextmanager
def tuned() -> Iterator[None]:
    """Tune the interpreter for the block, and restore its settings afterwards."""
    switch, (young, *older) = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_GC_THRESHOLD, *older)
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(young, *older)
