"""How the interpreter is set up to carry events: two busy threads, and rows by the million."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds until a thread that computes makes way for one that wants to.  A batch takes a dozen
# answers of the database, each sooner there than the 5 ms that its thread would wait for its turn.
_SWITCH = 0.0005
# New objects until the collector looks for cycles.  Rows make none, and there are more of them in
# one batch than the default of some hundreds.
_COLLECT = 100_000


@contextmanager
def tuned() -> Iterator[None]:
    """Set the interpreter up during the block, and as it was afterwards."""
    switch, (young, *older) = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH)
    gc.set_threshold(_COLLECT, *older)
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(young, *older)
