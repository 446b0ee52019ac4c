"""What may break, each as a function that breaks it for a while and puts it right again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..stack.arena import until
from . import kafka_faults, target_faults
from .clock import shifted
from .ground import Ground

_NOTICED_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which the world may fail; `letters` are those of a single time."""

    name: str
    strike: Callable[[Ground], None]
    letters: int = 0


def kill_runner(ground: Ground) -> None:
    ground.kill_runner()
    ground.pause(0.1, 1)
    ground.runner()


def kill(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        ground.stack.kill(part)
        ground.pause(0.2, 1.5)
        ground.stack.revive()

    return strike


def kill_registry(ground: Ground) -> None:
    """A runner that was just started knows no schema yet."""
    ground.stack.kill("registry")
    kill_runner(ground)
    ground.pause(1, 3)
    ground.stack.revive()


def cut(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        if part == "registry":
            kill_runner(ground)
        ground.links[part].cut()
        ground.pause(2, 4)
        ground.links[part].heal()

    return strike


def stall(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        ground.links[part].stall()
        ground.pause(2, 8)
        ground.links[part].heal()

    return strike


def slow_network(ground: Ground) -> None:
    for link in ground.links.values():
        link.slow(ground.random.uniform(0.05, 0.2))
    ground.pause(3, 5)
    for link in ground.links.values():
        link.heal()


def wrong_clock(ground: Ground) -> None:
    """The runner's clock is an hour ahead, then an hour behind."""
    for hours in (1, -1):
        ground.kill_runner()
        with shifted(hours * 3600) as environment:
            ground.runner(**environment)
            before = ground.arena.progress()
            assert until(lambda at=before: ground.arena.progress() > at, _NOTICED_SECONDS)
            time.sleep(1)
            ground.kill_runner()
    ground.runner()


FAULTS = (
    Fault(name="runner killed", strike=kill_runner),
    Fault(name="PostgreSQL killed", strike=kill("postgres")),
    Fault(name="Kafka killed", strike=kill("kafka")),
    Fault(name="registry killed", strike=kill_registry),
    Fault(name="Debezium of the warehouse killed", strike=kill("warehouse")),
    Fault(name="Debezium of the portal killed", strike=kill("citizen")),
    Fault(name="network cut: PostgreSQL", strike=cut("postgres")),
    Fault(name="network cut: Kafka", strike=cut("kafka")),
    Fault(name="network cut: registry", strike=cut("registry")),
    Fault(name="network stalled: PostgreSQL", strike=stall("postgres")),
    Fault(name="network stalled: Kafka", strike=stall("kafka")),
    Fault(name="network slow: all", strike=slow_network),
    Fault(name="disk full on the target", strike=target_faults.fill_disk),
    Fault(name="lock held on the target", strike=target_faults.hold_lock),
    Fault(name="target answers slowly", strike=target_faults.answer_slowly),
    Fault(name="poisoned message", strike=kafka_faults.poison, letters=2),
    Fault(name="corrupt schema id", strike=kafka_faults.unknown_schema, letters=1),
    Fault(name="gap in the topic", strike=kafka_faults.leave_gap),
    Fault(name="records deleted behind the offset", strike=kafka_faults.delete_behind),
    Fault(name="clock skew", strike=wrong_clock),
)
