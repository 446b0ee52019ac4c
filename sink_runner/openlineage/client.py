"""Send lineage events in a thread, so that a slow or absent receiver delays nothing else."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import uuid4

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from ..config.lineage import Lineage
from ..error_text import describe
from ..errors import ConfigError, RetriableError
from .events import Datasets, Job, Report, Transition, run_event

_SECONDS = 5.0
"""For one request, between two attempts, and for what is left at the end."""
_MOST_QUEUED = 1_000
_PATH = "/api/v1/lineage"
_REDIRECT, _SERVER_ERROR = 300, 500
_TEMPORARY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(slots=True)
class Run:
    """A run that has started; set `rows` and `aborted` before it ends."""

    job: Job
    datasets: Callable[[], Datasets]
    run_id: str = field(default_factory=lambda: str(uuid4()))
    rows: int | None = None
    """How many rows were written."""
    aborted: bool = False


class LineageClient:
    """Queues events, and drops new ones while the queue is full."""

    def __init__(self, settings: Lineage) -> None:
        self._settings = settings
        self._events: queue.Queue[tuple[Run, Report] | None] = queue.Queue(_MOST_QUEUED)
        self._open: dict[str, Run] = {}
        self._closing = threading.Event()
        self._is_away = False
        self._log = structlog.get_logger()
        context = settings.tls_context() if settings.is_encrypted else None
        options = settings.pool_options(context)
        self._pool = urllib3.PoolManager(**options, retries=False, timeout=_SECONDS)
        self._thread = threading.Thread(target=self._work, name="lineage", daemon=True)
        self._thread.start()

    @contextmanager
    def reporting(self, run: Run) -> Iterator[Run]:
        """Report the start and the end of a block; an exception is reported and raised again."""
        self._open[run.run_id] = run
        self._report(run, Transition.START)
        try:
            yield run
        except BaseException as fault:
            self._finish(run, Transition.FAIL, describe(fault))
            raise
        self._finish(run, Transition.ABORT if run.aborted else Transition.COMPLETE)

    def close(self) -> None:
        """Send what is queued, for a few seconds at most."""
        self._closing.set()
        with suppress(queue.Full):
            self._events.put_nowait(None)
        self._thread.join(_SECONDS)

    def _finish(self, run: Run, transition: Transition, error: str = "") -> None:
        del self._open[run.run_id]
        self._report(run, transition, error)

    def _report(self, run: Run, transition: Transition, error: str = "") -> None:
        report = Report(
            job=run.job,
            run_id=run.run_id,
            transition=transition,
            at=datetime.now(UTC),
            rows=run.rows,
            error=error,
        )
        with suppress(queue.Full):  # the outage that filled it was logged
            self._events.put_nowait((run, report))

    # -- in the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        interval = self._settings.running_seconds or threading.TIMEOUT_MAX
        due = time.monotonic() + interval
        while True:
            try:
                left = min(max(0.0, due - time.monotonic()), threading.TIMEOUT_MAX)
                event = self._events.get(timeout=0 if self._closing.is_set() else left)
            except queue.Empty:
                if self._closing.is_set():
                    return
                due = time.monotonic() + interval
                for run in list(self._open.values()):
                    self._report(run, Transition.RUNNING)
                continue
            if event is not None:
                self._deliver(*event)

    def _deliver(self, run: Run, report: Report) -> None:
        """Send an event, with retries during an outage until the client is closed.

        Every other failure would repeat, and hold up the events of all runs: the event is dropped.
        """
        while True:
            reason, again = "", False
            try:
                self._post(run_event(report, self._settings.namespace, run.datasets()))
            except Exception as fault:  # noqa: BLE001 - lineage never ends what it reports
                reason, again = describe(fault), isinstance(fault, RetriableError | HTTPError)
            if reason and not self._is_away:
                self._log.warning("lineage_not_sent", reason=reason)
            self._is_away = bool(reason)
            if not reason or not again or self._closing.wait(_SECONDS):
                return

    def _post(self, event: object) -> None:
        headers = {"Content-Type": "application/json"}
        if self._settings.api_key:
            headers["Authorization"] = f"Bearer {self._settings.api_key.read()}"
        body = json.dumps(event).encode()
        url = self._settings.url.rstrip("/") + _PATH
        status = self._pool.request("POST", url, body=body, headers=headers).status
        if status >= _SERVER_ERROR or status in _TEMPORARY:
            raise RetriableError(f"the lineage receiver answers {status}")
        if status >= _REDIRECT:
            raise ConfigError(f"the lineage receiver answers {status}; check [lineage]")


@contextmanager
def sending(settings: Lineage, *, unless: bool = False) -> Iterator[LineageClient | None]:
    """Yield a client for the block; None if no URL is set, or if `unless` is true."""
    if unless or not settings.url:
        yield None
        return
    client = LineageClient(settings)
    try:
        yield client
    finally:
        client.close()


def track(
    client: LineageClient | None, job: Job, datasets: Callable[[], Datasets]
) -> AbstractContextManager[Run]:
    """Report a block as a run; without a client, report nothing."""
    run = Run(job, datasets)
    return nullcontext(run) if client is None else client.reporting(run)
