"""Run the selected mappings: a thread for each, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog

from ..avro.schema_cache import SchemaCache
from ..config import Config
from ..control.reload import ReloadWatch
from ..dlq.outbox import publishing
from ..error_text import text_of
from ..errors import ConfigError, StoppedError
from ..health.server import serving
from ..loading import discovery
from ..masking.ranger.renewal import watch_policies
from ..model.status import Health
from ..openlineage.client import sending
from ..plugin import TableMapping
from ..reconcile.samples import SECONDS as SAMPLE_SECONDS
from ..reconcile.samples import SampleComparison, SampleQueue
from ..retention.daily import purging
from ..retry import Retrier
from ..signals import handled_signals
from .builder import RuntimeContext, build_worker, retry_policy
from .control_link import linked, runner_name
from .database_metrics import SECONDS as READ_SECONDS
from .database_metrics import DatabaseMetrics
from .interpreter import tuned
from .lag_watch import watching_lag
from .mapping_thread import MappingThread
from .periodic import repeating
from .telemetry import sending_traces
from .versions import show_versions
from .worker import Worker

RESTART = -1
_CHECK_SECONDS = 0.2  # seconds between two checks of the threads


def run(
    config: Config,
    selected: Sequence[discovery.Plugin],
    quarantined: Mapping[str, str] | None = None,
    *,
    strict: bool = False,
) -> int:
    """Run the mappings of the selected plugins, a thread each, until a signal.

    `quarantined` has the reason for each plugin that cannot run; it is only reported.  With
    `strict`, ConfigError is raised unless every mapping can start.

    Returns the exit code: 0 after a signal, but 1 if a mapping was stopped or quarantined when it
    came; RESTART if a reload wants the process to be replaced.  If every mapping has stopped for
    good, returns 1 without waiting for a signal.
    """
    stop, health = threading.Event(), Health()
    reload = ReloadWatch(runner_name(), stop)
    policies = watch_policies(config.policies)
    policies.show(health)
    show_versions(health, selected)
    with (
        handled_signals(reload.cancel),
        serving(config.health, health),
        tuned(),
        policies.watching(config.policies.refresh_seconds),
        publishing(config, selected, health),
        purging(config, selected),
        watching_lag(config, _streaming(selected), health),
        sending(config.lineage) as lineage,
        linked(config, _streaming_plugins(selected), health, reload) as wanted_of,
        sending_traces(config.telemetry) as traces,
        comparing_samples(config, selected, stop) as samples,
        repeating("metrics", _database_metrics(config, selected, health).observe, READ_SECONDS),
    ):
        context = RuntimeContext(
            config=config,
            policies=policies.current,
            schemas=SchemaCache(config.registry),
            plugins=selected,
            stop=stop,
            health=health,
            lineage=lineage,
            wanted_of=wanted_of,
            traces=traces,
            samples=samples,
        )
        _report_quarantined(quarantined or {}, health)
        threads = _make_threads(context, strict=strict)
        for thread in threads:
            thread.start()
        _wait(threads, stop)
        _finish(threads, config.shutdown_seconds)
    if reload.is_due:
        return RESTART
    return 1 if quarantined or any(thread.failed for thread in threads) else 0


@contextmanager
def comparing_samples(
    config: Config, plugins: Sequence[discovery.Plugin], stop: threading.Event
) -> Iterator[SampleQueue | None]:
    """Compare a sample of the written rows during the block, if the settings ask for it."""
    percent = config.reconcile.sample_percent
    if not percent:
        yield None
        return
    queue = SampleQueue(percent)
    comparison = SampleComparison(queue, plugins, config, stop=stop)
    with repeating("samples", comparison.compare, SAMPLE_SECONDS):
        yield queue


def _database_metrics(
    config: Config, selected: Sequence[discovery.Plugin], health: Health
) -> DatabaseMetrics:
    mappings = {one.name: one.mapping for one in selected if one.mapping}
    return DatabaseMetrics(config.databases, health, mappings, config.schedule)


def _report_quarantined(quarantined: Mapping[str, str], health: Health) -> None:
    for name, reason in sorted(quarantined.items()):
        health.mapping(name).quarantined(reason)
        structlog.get_logger().error("mapping_quarantined", mapping=name, reason=reason)


def _streaming(plugins: Iterable[discovery.Plugin]) -> dict[str, TableMapping]:
    """Return the mappings that read events, by their plugins' names."""
    return {one.name: one.mapping for one in _streaming_plugins(plugins) if one.mapping}


def _streaming_plugins(plugins: Iterable[discovery.Plugin]) -> list[discovery.Plugin]:
    return [one for one in plugins if one.mapping and one.mapping.streaming]


def _make_threads(context: RuntimeContext, *, strict: bool) -> list[MappingThread]:
    """Make a thread for each mapping that reads events; with `strict`, build its worker first."""
    streaming = _streaming_plugins(context.plugins)
    healths = {one.name: context.health.mapping(one.name) for one in streaming}
    built = _build_all(streaming, context) if strict else {}
    return [
        MappingThread(
            one.name, _builder(one, context, built.get(one.name)), healths[one.name], context.stop
        )
        for one in streaming
    ]


def _build_all(
    plugins: Iterable[discovery.Plugin], context: RuntimeContext
) -> dict[str, Worker | None]:
    """Build every mapping's worker; raise all faults together in one ConfigError."""
    workers: dict[str, Worker | None] = {}
    faults = []
    for plugin in plugins:
        try:
            workers[plugin.name] = _build_with_retries(plugin, context)
        except ConfigError as fault:
            faults.append(f"mapping {plugin.name!r}: {text_of(fault)}")
    if faults:
        raise ConfigError("\n".join(faults))
    return workers


def _builder(
    plugin: discovery.Plugin, context: RuntimeContext, first: Worker | None
) -> Callable[[], Worker | None]:
    """Return a function that builds the worker; its first call returns `first` if there is one."""
    ready = [first] if first is not None else []
    return lambda: ready.pop() if ready else _build_with_retries(plugin, context)


def _build_with_retries(plugin: discovery.Plugin, context: RuntimeContext) -> Worker | None:
    """Build the worker, with retries while a server does not answer; None if `stop` is set."""
    log = structlog.get_logger().bind(mapping=plugin.name)
    health = context.health.mapping(plugin.name)
    retry = Retrier(retry_policy(context.config), context.stop, log, health)
    with suppress(StoppedError):
        return retry(lambda _again: build_worker(plugin, context))
    return None


def _wait(threads: Sequence[MappingThread], stop: threading.Event) -> None:
    while not stop.wait(_CHECK_SECONDS) and any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.check_progress()
    stop.set()


def _finish(threads: Sequence[MappingThread], seconds: float) -> None:
    """Wait for each thread to finish its batch; after two thirds of the time, roll back."""
    # kafka-python logs an error for every connection that is closed.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - seconds / 3 - time.monotonic()))
        if thread.is_alive():
            thread.cancel()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
