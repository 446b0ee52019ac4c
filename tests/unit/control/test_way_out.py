"""What an operator can do about a state."""

import pytest

from sink_runner.control.heartbeat import beat
from sink_runner.control.way_out import way_out
from sink_runner.errors import (
    AccessError,
    ConfigError,
    DowngradeError,
    FatalError,
    PolicyError,
    RetriableError,
    SchemaError,
    StalePoliciesError,
)
from sink_runner.model.status import Health, MappingStatus, State


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (SchemaError, "`sink-runner schema check m`"),
        (StalePoliciesError, "Ranger Admin"),
        (PolicyError, "`sink-runner policies check`"),
        (DowngradeError, "newer version"),
        (AccessError, "grant"),
        (ConfigError, "correct what the reason names"),
        (RetriableError, "goes on automatically"),
        (FatalError, "`sink-runner reload`"),
        (ZeroDivisionError, "report it as a bug"),
        (None, "`sink-runner reload`"),
    ],
)
def test_way_out_follows_from_the_error(kind: type[Exception] | None, part: str) -> None:
    assert part in way_out("m", MappingStatus(State.STOPPED, 0.0, "why", kind))


def test_running_mapping_has_no_way_out() -> None:
    assert way_out("m", MappingStatus(State.RUNNING, 0.0)) == ""


def test_heartbeat_has_next_try_of_waiting_mapping() -> None:
    health = Health(clock=lambda: 1_000.0)
    health.mapping("m").paused("Kafka does not answer", RetriableError("no"), 16.0)
    found = beat(health, "m", "host:1", None, {})
    assert (found.state, found.reason) == ("waiting", "Kafka does not answer")
    assert found.next_try is not None
    assert found.next_try.timestamp() == 1_016.0


def test_heartbeat_has_times_of_last_events() -> None:
    health = Health(clock=lambda: 1_000.0)
    mapping = health.mapping("m")
    mapping.committed({"written": 1}, 0.1, 990_000)
    mapping.committed({"filtered": 1}, 0.1)
    mapping.committed({}, 0.1)
    found = beat(health, "m", "host:1", None, {"sink-runner": "1"})
    assert found.last_event_at is not None
    assert found.applied_commit_at is not None
    assert found.last_event_at.timestamp() == 1_000.0
    assert found.applied_commit_at.timestamp() == 990.0
