"""Whose fault a fault is: each class and each state of PostgreSQL's, decided on purpose."""

import struct
from typing import Any

import kafka.errors
import psycopg
import pytest
from psycopg import errors

from sink_runner.errors import (
    AccessError,
    ConfigError,
    EventError,
    FatalError,
    FencedError,
    PoliciesChangedError,
    RetriableError,
    StepError,
    TimedOutError,
    WaitingError,
    WriteError,
)
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.offset_queries import kafka_errors
from sink_runner.model.time_limit import TimeLimit
from sink_runner.postgres.error_classes import (
    FOREIGN_KEY,
    ROW_FAULTS,
    TAKEN,
    VALUE_FAULTS,
    classify_error,
    event_error,
)
from sink_runner.postgres.sqlstates import CLASSES, STATES, ErrorKind, classify_state

KNOWN = sorted({known.sqlstate for known in errors._sqlcodes.values()})
ROW = {"00", "01", "02", "09", "10", "20", "21", "22", "23", "44", "54", "P0"}
CONFIGURATION = {"0A", "0B", "0F", "0L", "0P", "0Z", "27", "2B", "2D", "2F", "38", "39", "3F", "42"}
TRANSIENT = {
    "03",
    "08",
    "24",
    "25",
    "26",
    "28",
    "34",
    "3B",
    "3D",
    "40",
    "53",
    "55",
    "57",
    "58",
    "72",
    "F0",
    "HV",
    "XX",
}
NEXT = {
    ErrorKind.ROW: WriteError,
    ErrorKind.TRANSIENT: RetriableError,
    ErrorKind.TIMEOUT: TimedOutError,
    ErrorKind.CONFIGURATION: ConfigError,
}
# What the issue names, and where a whole class would be wrong.
CERTAIN = {
    "53100": ErrorKind.TRANSIENT,  # disk full
    "53200": ErrorKind.TRANSIENT,  # out of memory
    "53300": ErrorKind.TRANSIENT,  # too many connections
    "55000": ErrorKind.CONFIGURATION,  # a deferrable arbiter
    "40001": ErrorKind.TRANSIENT,  # serialization failure
    "40P01": ErrorKind.TRANSIENT,  # deadlock
    "08006": ErrorKind.TRANSIENT,  # connection failure
    "57P01": ErrorKind.TRANSIENT,  # admin shutdown
    "57P03": ErrorKind.TRANSIENT,  # cannot connect now
    "25006": ErrorKind.TRANSIENT,  # read only
    "28P01": ErrorKind.TRANSIENT,  # password
    "3D000": ErrorKind.TRANSIENT,  # no such database
    "42P05": ErrorKind.TRANSIENT,  # duplicate prepared statement
    "57014": ErrorKind.TIMEOUT,  # query canceled
    "55P03": ErrorKind.TIMEOUT,  # lock not available
    "25P03": ErrorKind.TIMEOUT,  # idle in transaction session timeout
    "25P04": ErrorKind.TIMEOUT,  # transaction timeout
    "57P05": ErrorKind.TIMEOUT,  # idle session timeout
    "23505": ErrorKind.ROW,  # unique violation
    "22001": ErrorKind.ROW,  # string too long
    "40002": ErrorKind.ROW,  # integrity constraint at commit
    "54000": ErrorKind.ROW,  # a key too long for its index
    "P0001": ErrorKind.ROW,  # a trigger's own
    "42P01": ErrorKind.CONFIGURATION,  # no such table
    "42703": ErrorKind.CONFIGURATION,  # no such column
    "54011": ErrorKind.CONFIGURATION,  # too many columns
    "54023": ErrorKind.CONFIGURATION,  # too many arguments
}


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


class TestByState:
    def test_every_class_of_postgresql_is_decided(self) -> None:
        assert len(KNOWN) > 200
        assert {state[:2] for state in KNOWN} <= CLASSES.keys()
        assert CLASSES.keys() == ROW | CONFIGURATION | TRANSIENT

    @pytest.mark.parametrize("state", KNOWN)
    def test_every_sqlstate_follows_class_or_listed_exception(self, state: str) -> None:
        group = state[:2]
        by_class = (
            ErrorKind.ROW
            if group in ROW
            else ErrorKind.CONFIGURATION
            if group in CONFIGURATION
            else ErrorKind.TRANSIENT
        )
        expected = CERTAIN.get(state, by_class)
        assert classify_state(state) is expected
        classified = classify_error(errors.lookup(state)("SECRET"))
        assert type(classified) is (
            WaitingError if state in FOREIGN_KEY | TAKEN else NEXT[expected]
        )
        assert "SECRET" not in str(classified)
        assert state in (getattr(classified, "sqlstate", "") or str(classified))

    def test_every_exception_is_named_here(self) -> None:
        assert STATES.items() <= CERTAIN.items()

    @pytest.mark.parametrize(("state", "expected"), CERTAIN.items())
    def test_what_the_rest_relies_on(self, state: str, expected: ErrorKind) -> None:
        assert classify_state(state) is expected

    def test_unknown_state_is_transient_error(self) -> None:
        assert classify_state("ZZ999") is ErrorKind.TRANSIENT


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (psycopg.OperationalError("SECRET"), RetriableError),
        (psycopg.InterfaceError("SECRET"), RetriableError),
        (psycopg.DataError("SECRET"), WriteError),
        (psycopg.ProgrammingError("cannot adapt SECRET"), WriteError),
        (psycopg.errors.ConnectionTimeout("SECRET"), RetriableError),
        (TypeError("SECRET"), WriteError),
        (ValueError("SECRET"), WriteError),
        (OverflowError("SECRET"), WriteError),
        (AttributeError("SECRET"), WriteError),
        (struct.error("SECRET"), WriteError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_without_sqlstate_is_classified_by_type(fault: Any, kind: type) -> None:
    assert isinstance(fault, ROW_FAULTS + VALUE_FAULTS)
    classified = classify_error(fault)
    assert type(classified) is kind
    assert "SECRET" not in str(classified)


@pytest.mark.parametrize(
    "kind", [EventError, FatalError, RetriableError, FencedError, PoliciesChangedError]
)
def test_our_own_faults_stay_what_they_are(kind: type[Exception]) -> None:
    fault = kind("why")
    assert classify_error(fault) is fault


@pytest.mark.parametrize(
    "kind", sorted(subclasses(kafka.errors.KafkaError), key=lambda kind: kind.__name__)
)
def test_error_of_kafka_is_transient_or_denies_access(kind: type[Exception]) -> None:
    connection, names = KafkaConnection("127.0.0.1:1"), kind.__name__
    expected: type[Exception] = RetriableError
    if issubclass(kind, kafka.errors.AuthorizationError):
        expected = AccessError
    elif kind.__name__ in {"SaslAuthenticationFailedError", "UnsupportedSaslMechanismError"}:
        expected, names = AccessError, "refuses the login"
    with pytest.raises(expected, match=names), kafka_errors(connection):
        raise kind.__new__(kind)


class TestTimeLimit:
    def timeouts(self, limit: TimeLimit, count: int) -> list[float]:
        found = []
        for _ in range(count):
            limit.record_failure(TimedOutError("late"))
            found.append(limit.seconds)
        return found

    def test_it_doubles_up_to_a_bound(self) -> None:
        assert self.timeouts(TimeLimit(60), 6) == [120, 240, 480, 960, 960, 960]

    def test_success_resets_it(self) -> None:
        limit = TimeLimit(60)
        self.timeouts(limit, 3)
        limit.record_success()
        assert self.timeouts(limit, 2) == [120, 240]

    def test_another_fault_needs_no_more_time(self) -> None:
        limit = TimeLimit(60)
        self.timeouts(limit, 3)
        fault = RetriableError("gone")
        assert limit.record_failure(fault) is fault
        assert limit.seconds == 60


class TestOwnFault:
    """What a mapping's own functions raise."""

    @pytest.mark.parametrize(
        "world", [psycopg.OperationalError("secret"), OSError("secret"), MemoryError("secret")]
    )
    def test_transient_error_is_raised_without_its_text(self, world: Exception) -> None:
        with pytest.raises(RetriableError) as caught:
            event_error(world)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is world

    def test_the_runners_own_are_what_they_say(self) -> None:
        broken, later = EventError("broken"), RetriableError("later")
        assert event_error(broken) is broken
        with pytest.raises(RetriableError) as caught:
            event_error(later)
        assert caught.value is later

    def test_any_other_is_the_events_own(self) -> None:
        fault = LookupError("secret")
        error = event_error(fault)
        assert isinstance(error, StepError)
        assert "secret" not in str(error)
        assert error.__cause__ is fault
        assert isinstance(event_error(errors.NumericValueOutOfRange("secret")), WriteError)
