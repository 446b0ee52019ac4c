"""Whose fault is it?  The row's, the world's or the set-up's, decided by SQLSTATE and class.

Nothing here ever quotes the database's message or detail: both quote rows.
"""

from __future__ import annotations

import struct

import psycopg

from ..errors import EventError, FatalError, RetriableError, SinkError, WriteError

# SQLSTATE classes: PostgreSQL manual, appendix A.
_ROW = {
    "21",  # cardinality violation: two keys of a set that only the database finds alike
    "22",  # data exception
    "23",  # integrity constraint violation
    "54",  # program limit exceeded: a key too long for its index, JSON too deep
    "44",  # WITH CHECK OPTION violation
    "P0",  # raised by a trigger or function
}
_SETUP = {
    "0A",  # feature not supported
    "3F",  # invalid schema name
    "42",  # syntax error or access rule violation
}
_BUT_WORLD = {
    "42501",  # insufficient privilege: granted by a person, and then it works
}

ROW_FAULTS = (
    psycopg.Error,
    EventError,
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,  # psycopg's dumpers, of a value that is no text where text is wanted
    struct.error,
)
"""What staging or writing one row may raise; `judge` tells which of them are its fault."""


def judge(fault: BaseException) -> SinkError:
    """Translate what a write raised into what the runner does next."""
    if isinstance(fault, SinkError):
        return fault
    if not isinstance(fault, psycopg.Error):
        return WriteError(f"a value does not fit its column's type ({type(fault).__name__})")
    state = fault.sqlstate
    if state is None:
        return _without_state(fault)
    name = type(fault).__name__
    if state[:2] in _ROW:
        constraint = fault.diag.constraint_name or fault.diag.column_name
        reason = f"refused by the target: {name}" + (f" ({constraint})" if constraint else "")
        return WriteError(reason, sqlstate=state, constraint=constraint)
    if state[:2] in _SETUP and state not in _BUT_WORLD:
        return FatalError(f"the target does not understand the write: {name}, SQLSTATE {state}")
    return RetriableError(f"the target can't be written to: {name}, SQLSTATE {state}")


def _without_state(fault: psycopg.Error) -> SinkError:
    if isinstance(fault, psycopg.DataError | psycopg.ProgrammingError):  # the client's refusal
        return WriteError(f"a value can't be sent to PostgreSQL ({type(fault).__name__})")
    return RetriableError(f"no connection to the target: {type(fault).__name__}")
