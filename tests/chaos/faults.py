"""The faults: each is a function that breaks a part for a while and restores it."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ..stack.deployment import wait_until
from . import kafka_faults, network_faults, target_faults
from .clock import shift_clock
from .harness import Harness

_EFFECT_SECONDS = 30
_HOUR = 3600
_TIMESTAMP = re.compile(r'"timestamp": "([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    inject: Callable[[Harness], None]
    dead_letters: int = 0
    """Number of dead letters that one injection causes."""


def kill_process(name: str) -> Callable[[Harness], None]:
    def inject(harness: Harness) -> None:
        harness.stack.kill(name)
        harness.pause(0.2, 1.5)
        harness.stack.revive()

    return inject


def kill_registry(harness: Harness) -> None:
    """Restart the runner, too: a new runner has no schema in its cache."""
    harness.stack.kill("registry")
    harness.restart_runner()
    harness.pause(1, 3)
    harness.stack.revive()


def skew_clock(harness: Harness) -> None:
    """Run the runner with a clock an hour ahead, then an hour behind; its log proves the skew."""
    for seconds in (_HOUR, -_HOUR):
        harness.kill_runner()
        read_log = harness.capture_log()
        with shift_clock(seconds) as environment:
            harness.ensure_runner(**environment)
            before = harness.deployment.progress()
            assert wait_until(lambda at=before: harness.deployment.progress() > at, _EFFECT_SECONDS)
            time.sleep(1)
            harness.kill_runner()
        ratios = {round(skew / seconds, 1) for skew in _read_skews(read_log())}
        assert ratios == {1.0}, f"expected a skew of {seconds} s, got {ratios} times that"
    harness.ensure_runner()


def _read_skews(log: str) -> Iterator[float]:
    """Yield the seconds by which each timestamp of the log differs from the current time."""
    for timestamp in _TIMESTAMP.findall(log):
        yield (datetime.fromisoformat(timestamp) - datetime.now(UTC)).total_seconds()


FAULTS = (
    Fault(name="runner killed", inject=Harness.restart_runner),
    Fault(name="PostgreSQL killed", inject=kill_process("postgres")),
    Fault(name="Kafka killed", inject=kill_process("kafka")),
    Fault(name="registry killed", inject=kill_registry),
    Fault(name="Debezium of the warehouse killed", inject=kill_process("warehouse")),
    Fault(name="Debezium of the portal killed", inject=kill_process("citizen")),
    Fault(name="network cut: PostgreSQL", inject=network_faults.cut_connections("postgres")),
    Fault(name="network cut: Kafka", inject=network_faults.cut_connections("kafka")),
    Fault(name="network cut: registry", inject=network_faults.cut_registry),
    Fault(name="network stalled: PostgreSQL", inject=network_faults.stall_connections("postgres")),
    Fault(name="network stalled: Kafka", inject=network_faults.stall_connections("kafka")),
    Fault(name="network slow: all", inject=network_faults.delay_all),
    Fault(name="disk full on the target", inject=target_faults.fill_disk),
    Fault(name="lock held on the target", inject=target_faults.hold_lock),
    Fault(name="slow statements on the target", inject=target_faults.slow_down_statements),
    Fault(name="undecodable message", inject=kafka_faults.send_undecodable, dead_letters=2),
    Fault(name="wrong schema id", inject=kafka_faults.send_wrong_schema_ids, dead_letters=3),
    Fault(name="gap in the topic", inject=kafka_faults.leave_offset_gap),
    Fault(name="applied records deleted", inject=kafka_faults.delete_applied_records),
    Fault(name="clock skew", inject=skew_clock),
)
