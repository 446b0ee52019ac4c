"""The lag of a mapping: zero when nothing is left to apply, and rising while something is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.model import lag as module
from sink_runner.model.lag import Lag


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lag(clock: Clock) -> Lag:
    return Lag(clock)


def look(lag: Lag) -> tuple[int, float]:
    return lag.events, lag.seconds


def test_applied_log_has_no_lag(lag: Lag, clock: Clock) -> None:
    """A bulk load of old events does not leave its age behind."""
    lag.note_read({0: 500}, committed=100.0)
    assert look(lag) == (500, 900.0)
    lag.note_applied({0: 500})
    lag.note_ends({0: 500})
    clock.now += 3_600
    assert look(lag) == (0, 0.0)


def test_stopped_mapping_lags_since_next_event(lag: Lag, clock: Clock) -> None:
    lag.note_applied({0: 10})
    lag.note_ends({0: 10})
    clock.now += 60
    lag.note_ends({0: 13})
    assert look(lag) == (3, 0.0)
    clock.now += 300
    lag.note_ends({0: 20})
    assert look(lag) == (10, 300.0)


def test_age_falls_with_what_is_applied(lag: Lag, clock: Clock) -> None:
    for end in (10, 20, 30):
        lag.note_ends({0: end})
        clock.now += 5
    assert look(lag) == (30, 15.0)
    lag.note_applied({0: 12})
    assert look(lag) == (18, 10.0)
    lag.note_applied({0: 20})
    assert look(lag) == (10, 5.0)


def test_batch_in_flight_has_age_of_commit(lag: Lag, clock: Clock) -> None:
    lag.note_read({0: 5}, committed=990.0)
    lag.note_read({0: 9}, committed=998.0)
    clock.now += 20
    assert look(lag) == (9, 30.0)
    lag.note_applied({0: 5})
    assert look(lag) == (4, 22.0)


def test_oldest_partition_decides(lag: Lag, clock: Clock) -> None:
    lag.note_applied({0: 3, 1: 3})
    lag.note_ends({0: 4, 1: 3})
    clock.now += 7
    lag.note_ends({0: 4, 1: 5})
    assert look(lag) == (3, 7.0)


def test_late_observation_does_not_undo_commit(lag: Lag) -> None:
    """The lag watch reads the database before a commit and reports it after."""
    lag.note_applied({0: 8})
    lag.note_applied({0: 5})
    lag.note_ends({0: 8})
    assert look(lag) == (0, 0.0)


def test_claim_may_go_back(lag: Lag, clock: Clock) -> None:
    """The target was restored from a backup."""
    lag.note_applied({0: 8})
    lag.restart({0: 2})
    lag.note_ends({0: 8})
    clock.now += 4
    assert look(lag) == (6, 4.0)


def test_clock_of_source_may_be_ahead(lag: Lag) -> None:
    lag.note_read({0: 1}, committed=2_000.0)
    assert look(lag) == (1, 0.0)


def test_long_stop_needs_bounded_memory(
    lag: Lag, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ENDS", 3)
    for end in range(1, 11):
        lag.note_ends({0: end})
        clock.now += 1
    assert len(lag._partitions[0].ends) == 3
    assert look(lag) == (10, 10.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))))
def test_lag_is_zero_only_without_backlog(steps: list[tuple[int, int, int]]) -> None:
    """Against the time at which each event was first seen."""
    clock = Clock()
    lag, seen, applied = Lag(clock), list[float](), 0
    lag.note_applied({0: 0})
    for new, done, seconds in steps:
        seen += [clock.now] * new
        applied = min(len(seen), applied + done)
        lag.note_ends({0: len(seen)})
        lag.note_applied({0: applied})
        clock.now += seconds
        backlog = seen[applied:]
        assert look(lag) == (len(backlog), clock.now - backlog[0] if backlog else 0.0)
