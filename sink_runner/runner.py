"""Run the selected mappings: a thread each, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from .assembly import Surroundings, build, patience
from .avro.schema_registry import SchemaRegistry
from .config import Config
from .dead_letters.outbox import feeding
from .errors import ConfigError, FatalError, FencedError, PolicyError
from .health.board import Health, MappingHealth
from .health.server import answering
from .interpreter import tuned
from .loading import registry
from .log import text_of
from .masking.renewal import renewal
from .masking.watch import PolicyWatch
from .patience import Insistence
from .signals import stopped_by_signals
from .worker import Worker

_CHECK = 0.2  # seconds between looks at the threads


def run(config: Config, selected: Sequence[registry.Plugin]) -> int:
    """Return the exit code: 0 after a signal, 1 if a mapping had to stop by itself."""
    stop, health = threading.Event(), Health()
    policies = PolicyWatch(
        config.policies.directory, config.policies.key, download=renewal(config.policies)
    )
    policies.show(health)
    with (
        stopped_by_signals(stop),
        answering(config.health, health),
        tuned(),
        policies.watching(config.policies.refresh_seconds),
        feeding(config, selected, health),
    ):
        around = Surroundings(
            config=config,
            policies=policies.current(),
            latest=policies.current,
            schemas=SchemaRegistry(config.registry.url),
            plugins=selected,
            stop=stop,
            health=health,
        )
        workers, stopped = _build(around)
        threads = [_Mapping(name, worker, health.mapping(name)) for name, worker in workers.items()]
        for thread in threads:
            thread.start()
        _wait(threads, stop)
        _finish(threads, config.shutdown_seconds)
    return 1 if stopped or any(thread.failed for thread in threads) else 0


class _Mapping(threading.Thread):
    """A mapping's thread: it fails alone."""

    def __init__(self, name: str, worker: Worker, health: MappingHealth) -> None:
        super().__init__(name=name, daemon=True)
        self.worker = worker
        self._health = health
        self.failed = False

    def run(self) -> None:
        log = structlog.get_logger().bind(mapping=self.name)
        log.info("mapping_started")
        self._health.running()
        try:
            self.worker.run()
        except FatalError as fault:
            self._stopped(text_of(fault))
            log.error("mapping_stopped", reason=text_of(fault))  # noqa: TRY400 - the reason says it
        except Exception as fault:
            self._stopped(f"unexpected {type(fault).__name__}")
            log.exception("mapping_stopped", reason=f"unexpected {type(fault).__name__}")
        else:
            log.info("mapping_finished", **self.worker.counts)

    def _stopped(self, reason: str) -> None:
        self.failed = True
        self._health.stopped(reason)


def _build(around: Surroundings) -> tuple[dict[str, Worker], bool]:
    """Check and connect every mapping; all that is wrong is told at once.

    Whom the policies leave bare stops alone, as it would while it runs; tells whether one did.
    """
    workers, faults, bare = {}, [], []
    for plugin in around.plugins:
        if plugin.mapping is None or not plugin.mapping.events:
            continue
        health = around.health.mapping(plugin.name)  # starting, until its thread does
        try:
            worker = _patiently(plugin, around)
        except PolicyError as fault:
            bare.append(f"mapping {plugin.name!r}: {text_of(fault)}")
            health.stopped(text_of(fault))
        except ConfigError as fault:
            faults.append(f"mapping {plugin.name!r}: {fault}")
        else:
            if worker is None:
                return {}, False
            workers[plugin.name] = worker
    if faults or (bare and not workers):
        raise ConfigError("\n".join([*faults, *bare]))
    for reason in bare:
        structlog.get_logger().error("mapping_stopped", reason=reason)
    return workers, bool(bare)


def _patiently(plugin: registry.Plugin, around: Surroundings) -> Worker | None:
    """Wait for databases and Kafka to answer; None if told to stop meanwhile."""
    log = structlog.get_logger().bind(mapping=plugin.name)
    health = around.health.mapping(plugin.name)
    insist = Insistence(patience(around.config), around.stop, log, health)
    with suppress(FencedError):  # told to stop
        return insist(lambda _again: build(plugin, around))
    return None


def _wait(threads: Sequence[_Mapping], stop: threading.Event) -> None:
    while not stop.wait(_CHECK) and any(thread.is_alive() for thread in threads):
        pass
    stop.set()


def _finish(threads: Sequence[_Mapping], seconds: float) -> None:
    """Let each finish its batch; in the last third of the time, roll back what still runs."""
    # What the library says of connections that are being closed is of no use to anybody.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - seconds / 3 - time.monotonic()))
        if thread.is_alive():
            thread.worker.cancel()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
