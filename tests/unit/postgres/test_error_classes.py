"""Classification of errors: every SQLSTATE of PostgreSQL, and errors without one."""

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
ERROR_TYPES = {
    ErrorKind.ROW: WriteError,
    ErrorKind.TRANSIENT: RetriableError,
    ErrorKind.TIMEOUT: TimedOutError,
    ErrorKind.CONFIGURATION: ConfigError,
}
# States that other code relies on, and exceptions from their class.
LISTED = {
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
    "P0001": ErrorKind.ROW,  # raised by a trigger
    "42P01": ErrorKind.CONFIGURATION,  # no such table
    "42703": ErrorKind.CONFIGURATION,  # no such column
    "54011": ErrorKind.CONFIGURATION,  # too many columns
    "54023": ErrorKind.CONFIGURATION,  # too many arguments
}


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


class TestStates:
    def test_every_class_of_postgresql_is_classified(self) -> None:
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
        expected = LISTED.get(state, by_class)
        assert classify_state(state) is expected
        classified = classify_error(errors.lookup(state)("SECRET"))
        assert type(classified) is (
            WaitingError if state in FOREIGN_KEY | TAKEN else ERROR_TYPES[expected]
        )
        assert "SECRET" not in str(classified)
        assert state in (getattr(classified, "sqlstate", "") or str(classified))

    def test_every_exception_from_class_is_listed(self) -> None:
        assert STATES.items() <= LISTED.items()

    @pytest.mark.parametrize(("state", "expected"), LISTED.items())
    def test_listed_state_has_its_class(self, state: str, expected: ErrorKind) -> None:
        assert classify_state(state) is expected

    def test_unknown_state_is_transient_error(self) -> None:
        assert classify_state("ZZ999") is ErrorKind.TRANSIENT


@pytest.mark.parametrize(
    ("error", "kind"),
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
def test_error_without_sqlstate_is_classified_by_type(error: Any, kind: type) -> None:
    assert isinstance(error, ROW_FAULTS + VALUE_FAULTS)
    classified = classify_error(error)
    assert type(classified) is kind
    assert "SECRET" not in str(classified)


@pytest.mark.parametrize(
    "kind", [EventError, FatalError, RetriableError, FencedError, PoliciesChangedError]
)
def test_errors_of_runner_are_unchanged(kind: type[Exception]) -> None:
    error = kind("why")
    assert classify_error(error) is error


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
    elif kind.__name__ in {
        "FencedInstanceIdError",
        "InconsistentGroupProtocolError",
        "InvalidSessionTimeoutError",
    }:
        expected, names = AccessError, "kafka.membership"
    with pytest.raises(expected, match=names), kafka_errors(connection):
        raise kind.__new__(kind)


class TestTimeLimit:
    def timeouts(self, limit: TimeLimit, count: int) -> list[float]:
        limits = []
        for _ in range(count):
            limit.record_failure(TimedOutError("late"))
            limits.append(limit.seconds)
        return limits

    def test_timeout_doubles_up_to_limit(self) -> None:
        assert self.timeouts(TimeLimit(60), 6) == [120, 240, 480, 960, 960, 960]

    def test_success_resets_it(self) -> None:
        limit = TimeLimit(60)
        self.timeouts(limit, 3)
        limit.record_success()
        assert self.timeouts(limit, 2) == [120, 240]

    def test_other_error_resets_timeout(self) -> None:
        limit = TimeLimit(60)
        self.timeouts(limit, 3)
        error = RetriableError("gone")
        assert limit.record_failure(error) is error
        assert limit.seconds == 60


class TestErrorsOfMapping:
    """Errors that functions of a mapping raise."""

    @pytest.mark.parametrize(
        "raised", [psycopg.OperationalError("secret"), OSError("secret"), MemoryError("secret")]
    )
    def test_transient_error_is_raised_without_its_text(self, raised: Exception) -> None:
        with pytest.raises(RetriableError) as caught:
            event_error(raised)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is raised

    def test_errors_of_runner_keep_their_class(self) -> None:
        broken, later = EventError("broken"), RetriableError("later")
        assert event_error(broken) is broken
        with pytest.raises(RetriableError) as caught:
            event_error(later)
        assert caught.value is later

    def test_other_error_is_data_error(self) -> None:
        raised = LookupError("secret")
        error = event_error(raised)
        assert isinstance(error, StepError)
        assert "secret" not in str(error)
        assert error.__cause__ is raised
        assert isinstance(event_error(errors.NumericValueOutOfRange("secret")), WriteError)
