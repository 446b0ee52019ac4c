"""Measure other sinks on the same topic and table, each with its fastest settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..passes import PassResult
from ..recording import Recording
from ..report import Report
from ..stack import BenchStack
from . import jdbc, quix


@contextmanager
def prepare(
    bench: BenchStack, recording: Recording, report: Report
) -> Iterator[Mapping[str, Callable[[], PassResult]]]:
    """Find the fastest settings of each sink; yield a function per sink that runs a pass."""
    run_quix = quix.prepare(bench, recording, report)
    with jdbc.prepare(bench, recording, report) as run_jdbc:
        yield {jdbc.NAME: run_jdbc, quix.NAME: run_quix}
