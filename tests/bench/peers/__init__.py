"""Other sinks on the same topic and table, each as fast as we could make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..home import Home
from ..measured import Pass
from ..recording import Recording
from ..report import Report
from . import jdbc, quix


@contextmanager
def ready(
    home: Home, recording: Recording, report: Report
) -> Iterator[Mapping[str, Callable[[], Pass]]]:
    """Find each one's best settings, and give what makes a pass of it, by name."""
    streams = quix.ready(home, recording, report)
    with jdbc.ready(home, recording, report) as sink:
        yield {jdbc.NAME: sink, quix.NAME: streams}
