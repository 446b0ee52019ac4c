"""Whose fault a fault is."""

import struct
from typing import Any

import psycopg
import pytest
from psycopg import errors

from sink_runner.errors import EventError, FatalError, FencedError, RetriableError, WriteError
from sink_runner.target.faults import ROW_FAULTS, judge

STATES = sorted({known.sqlstate for known in errors._sqlcodes.values()})
ROW = {"21", "22", "23", "44", "54", "P0"}
SETUP = {"0A", "3F", "42"}


def expected(state: str) -> type[Exception]:
    if state[:2] in ROW:
        return WriteError
    return FatalError if state[:2] in SETUP and state != "42501" else RetriableError


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_postgresql_is_judged_by_its_class(state: str) -> None:
    judged = judge(errors.lookup(state)("SECRET"))
    assert type(judged) is expected(state)
    assert "SECRET" not in str(judged)
    if isinstance(judged, WriteError):
        assert judged.sqlstate == state
    else:
        assert state in str(judged)


def test_the_table_covers_what_postgresql_has() -> None:
    assert len(STATES) > 200
    assert {state[:2] for state in STATES} >= ROW | SETUP


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
def test_what_has_no_state_is_judged_by_its_kind(fault: Any, kind: type) -> None:
    assert isinstance(fault, ROW_FAULTS)
    judged = judge(fault)
    assert type(judged) is kind
    assert "SECRET" not in str(judged)


@pytest.mark.parametrize("kind", [EventError, FatalError, RetriableError, FencedError])
def test_our_own_faults_stay_what_they_are(kind: type[Exception]) -> None:
    fault = kind("why")
    assert judge(fault) is fault
