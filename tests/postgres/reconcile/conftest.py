"""The two databases of the batch tests, and the reconciliation between them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from sink_runner.batch.progress import Progress
from sink_runner.config import Config
from sink_runner.config.sections import Schema
from sink_runner.loading import discovery
from sink_runner.reconcile import session
from sink_runner.reconcile.options import Options
from sink_runner.reconcile.parts import Parts
from sink_runner.reconcile.report import Report
from sink_runner.reconcile.run import Reconciliation
from sink_runner.reconcile.suspect import Suspect

from ..batch.conftest import Pair


class StubMarker:
    """Replaces the log marker; `meanwhile` does what Debezium and a runner do until the marker."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.waits = 0

    def wait(self) -> str | None:
        self.waits += 1
        self.meanwhile()
        return None

    def unread(self, suspects: list[Suspect]) -> list[Suspect]:
        return []


class ReconciledPair(Pair):
    """Two databases with batch runs and reconciliations; columns need no classification."""

    def config(self, **batch: Any) -> Config:
        return replace(super().config(**batch), schema=Schema(strict=False))

    @contextmanager
    def parts(
        self,
        name: str,
        *also: str,
        applied: Any = None,
        stop: threading.Event | None = None,
        **options: Any,
    ) -> Iterator[tuple[Parts, Options]]:
        """Open the parts of a reconciliation, a full one by default, with `also` in the chain."""
        installed = discovery.installed()
        for one in (name, *also):
            discovery.load(installed[one])
        plugins = discovery.usable([installed[one] for one in (name, *also)])
        marker = applied or StubMarker()
        is_full = not {"since", "sample", "full"} & options.keys()
        merged_options = Options(**{"full": is_full} | options)
        with session.open_parts(
            plugins[0],
            plugins,
            self.config(),
            merged_options,
            stop=stop or threading.Event(),
            make_marker=marker if callable(marker) else lambda *_: marker,
        ) as parts:
            yield parts, merged_options

    def reconcile(self, name: str, *also: str, **options: Any) -> Report:
        with self.parts(name, *also, **options) as (parts, merged_options):
            return reconcile(parts, merged_options)


def reconcile(parts: Parts, options: Options) -> Report:
    return Reconciliation(parts, options, Progress("", Console(quiet=True))).run()


@pytest.fixture
def pair(postgres) -> Iterator[ReconciledPair]:
    opened = ReconciledPair(postgres)
    yield opened
    opened.close()
