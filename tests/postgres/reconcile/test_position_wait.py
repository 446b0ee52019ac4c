"""Waiting for a position in the log: reached, not captured, not applied, of another server."""

import threading
import time

import pytest

from sink_runner.errors import ConfigError
from sink_runner.kafka.feed import Bounds
from sink_runner.loading import discovery
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.reconcile import log_marker, position_wait
from sink_runner.reconcile.position_wait import current_position, format_lsn, parse_lsn, wait_for

from .test_in_flight import CONFIRMED, OFFSET

pytestmark = pytest.mark.postgres
BEFORE = "SELECT 1::int8"


@pytest.fixture
def wait(pair, monkeypatch):
    """Wait with a deadline that has passed: a position that is reached is still found."""
    plugin = discovery.installed()["golden-records"]
    discovery.load(plugin)
    config = pair.config()
    with connect(config.databases["smart_citizen"].dsn, "test") as connection:
        migrate(connection)
    monkeypatch.setattr(log_marker, "topic_bounds", lambda *_: {0: Bounds(0, 5), 1: Bounds(0, 0)})

    def waited(confirmed=CONFIRMED, position=None, seconds=0.0, stop=None):
        monkeypatch.setattr(log_marker, "_CONFIRMED", confirmed)
        at = current_position(plugin.mapping, config) if position is None else position
        return wait_for(
            "golden-records",
            plugin.mapping,
            config,
            at,
            deadline=time.monotonic() + seconds,
            stop=stop or threading.Event(),
        )

    return waited


def test_position_is_reached_with_all_offsets(pair, wait) -> None:
    pair.citizen.execute(OFFSET, (4,))
    found = wait()
    assert (found.reached, found.unapplied) == (False, 1)
    assert "1 events are not applied" in found.sentence
    pair.citizen.execute("UPDATE sink.partition_offset SET next_offset = 5")
    assert (wait().reached, wait().unapplied) == (True, 0)


def test_uncaptured_log_is_not_reached(pair, wait) -> None:
    """The offsets are at the topic's end, and the change is not in the topic yet."""
    pair.citizen.execute(OFFSET, (5,))
    found = wait(BEFORE)
    assert (found.reached, found.captured, found.unapplied) == (False, "0/1", None)
    assert "captured the source's log up to 0/1" in found.sentence
    found = wait("SELECT NULL::int8")
    assert "start Debezium" in found.sentence


def test_wait_ends_when_last_event_is_applied(pair, wait, monkeypatch) -> None:
    pair.citizen.execute(OFFSET, (4,))
    looks = iter((2, 1, 0))
    monkeypatch.setattr(log_marker, "_count_unapplied", lambda *_: next(looks))
    monkeypatch.setattr(position_wait, "POLL_SECONDS", 0.01)
    assert wait(seconds=60).reached


def test_stop_ends_the_wait(wait) -> None:
    stop = threading.Event()
    stop.set()
    assert not wait(BEFORE, seconds=60, stop=stop).reached


def test_position_of_other_server_is_refused(wait) -> None:
    with pytest.raises(ConfigError, match=r"has not reached FFFFFF/0: .* of another server"):
        wait(position=parse_lsn("FFFFFF/0"))


@pytest.mark.parametrize("text", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_lsn_is_read_and_written(text: str) -> None:
    assert format_lsn(parse_lsn(text)) == text
