"""Other sinks on the same topic and table, each as fast as we could make it."""

from __future__ import annotations

from ..home import Home
from ..recording import Recording
from ..report import Report
from . import jdbc, quix


def measure(home: Home, recording: Recording, passes: int, report: Report) -> None:
    jdbc.measure(home, recording, passes, report)
    quix.measure(home, recording, passes, report)
