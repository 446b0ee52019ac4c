"""What may break, each as a function that breaks it for a while and puts it right again."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ..stack.arena import until
from . import kafka_faults, network_faults, target_faults
from .clock import shifted
from .ground import Ground

_NOTICED_SECONDS = 30
_HOUR = 3600
_TIMESTAMP = re.compile(r'"timestamp": "([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which the world may fail; `dead_letters` are those of a single time."""

    name: str
    strike: Callable[[Ground], None]
    dead_letters: int = 0


def kill(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        ground.stack.kill(part)
        ground.pause(0.2, 1.5)
        ground.stack.revive()

    return strike


def kill_registry(ground: Ground) -> None:
    """A runner that was just started knows no schema yet."""
    ground.stack.kill("registry")
    ground.restart_runner()
    ground.pause(1, 3)
    ground.stack.revive()


def wrong_clock(ground: Ground) -> None:
    """The runner's clock is an hour ahead, then an hour behind; its log tells what time it has."""
    for seconds in (_HOUR, -_HOUR):
        ground.kill_runner()
        said = ground.listen()
        with shifted(seconds) as environment:
            ground.runner(**environment)
            before = ground.arena.progress()
            assert until(lambda at=before: ground.arena.progress() > at, _NOTICED_SECONDS)
            time.sleep(1)
            ground.kill_runner()
        off = {round(skew / seconds, 1) for skew in _skews(said())}
        assert off == {1.0}, f"the runner's clock was off by {off} of {seconds} s"
    ground.runner()


def _skews(said: str) -> Iterator[float]:
    """By how many seconds each line that was just written is not of now."""
    for told in _TIMESTAMP.findall(said):
        yield (datetime.fromisoformat(told) - datetime.now(UTC)).total_seconds()


FAULTS = (
    Fault(name="runner killed", strike=Ground.restart_runner),
    Fault(name="PostgreSQL killed", strike=kill("postgres")),
    Fault(name="Kafka killed", strike=kill("kafka")),
    Fault(name="registry killed", strike=kill_registry),
    Fault(name="Debezium of the warehouse killed", strike=kill("warehouse")),
    Fault(name="Debezium of the portal killed", strike=kill("citizen")),
    Fault(name="network cut: PostgreSQL", strike=network_faults.cut("postgres")),
    Fault(name="network cut: Kafka", strike=network_faults.cut("kafka")),
    Fault(name="network cut: registry", strike=network_faults.cut_registry),
    Fault(name="network stalled: PostgreSQL", strike=network_faults.stall("postgres")),
    Fault(name="network stalled: Kafka", strike=network_faults.stall("kafka")),
    Fault(name="network slow: all", strike=network_faults.slow),
    Fault(name="disk full on the target", strike=target_faults.fill_disk),
    Fault(name="lock held on the target", strike=target_faults.hold_lock),
    Fault(name="target answers slowly", strike=target_faults.answer_slowly),
    Fault(name="poisoned message", strike=kafka_faults.poison, dead_letters=2),
    Fault(name="corrupt schema id", strike=kafka_faults.corrupt_schema_ids, dead_letters=3),
    Fault(name="gap in the topic", strike=kafka_faults.leave_gap),
    Fault(name="records deleted behind the offset", strike=kafka_faults.delete_behind),
    Fault(name="clock skew", strike=wrong_clock),
)
