"""Whose fault is it?  The row's, the world's or the set-up's: one table, by SQLSTATE and class.

What the table does not name is the world's: an outage that is taken for a row's fault loses the
order of events and fills the dead letters, and a row's fault that is taken for an outage only
waits, with an alarm, for a person.  Nothing here ever quotes the database's message or detail:
both quote rows.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from enum import StrEnum

import psycopg

from ..errors import (
    EventError,
    FatalError,
    RetriableError,
    SinkError,
    StepError,
    TimedOutError,
    WriteError,
)


class Blame(StrEnum):
    """Whose fault it is, and so what happens next."""

    ROW = "row"
    """A dead letter; later events of its key wait behind it, other keys go on."""
    WORLD = "world"
    """The mapping pauses and tries again for as long as it takes."""
    TIMEOUT = "timeout"
    """So it does here, and each time it gives the target longer."""
    SETUP = "set-up"
    """The mapping stops with its offsets where they are; a person mends it."""


_R, _W, _T, _S = Blame.ROW, Blame.WORLD, Blame.TIMEOUT, Blame.SETUP

CLASSES: Mapping[str, Blame] = {
    "00": _R,  # successful completion, warning, no data: an error only where a trigger raises it
    "01": _R,
    "02": _R,
    "03": _W,  # SQL statement not yet complete: the session's state is gone; another has its own
    "08": _W,  # connection exception
    "09": _R,  # triggered action exception
    "0A": _S,  # feature not supported
    "0B": _S,  # invalid transaction initiation: by a function of the target
    "0F": _S,  # locator exception
    "0L": _S,  # invalid grantor
    "0P": _S,  # invalid role specification
    "0Z": _S,  # diagnostics exception: a trigger's handler is wrong
    "10": _R,  # XQuery error: the function's argument is the row's
    "20": _R,  # case not found: a trigger has no branch for what the row holds
    "21": _R,  # cardinality violation: two keys of a set that only the database finds alike
    "22": _R,  # data exception
    "23": _R,  # integrity constraint violation
    "24": _W,  # invalid cursor state, as of 03
    "25": _W,  # invalid transaction state: read-only after a failover, or aborted
    "26": _W,  # invalid SQL statement name, as of 03
    "27": _S,  # triggered data change violation: a trigger changes the row that it is about
    "28": _W,  # invalid authorization specification: a password that is just being changed
    "2B": _S,  # dependent privilege descriptors still exist
    "2D": _S,  # invalid transaction termination: by a function of the target
    "2F": _S,  # SQL routine exception
    "34": _W,  # invalid cursor name, as of 03
    "38": _S,  # external routine exception
    "39": _S,  # external routine invocation exception: a trigger returns what it must not
    "3B": _W,  # savepoint exception, as of 03
    "3D": _W,  # invalid catalog name: the database is being restored
    "3F": _S,  # invalid schema name
    "40": _W,  # transaction rollback: serialization failure, deadlock
    "42": _S,  # syntax error or access rule violation
    "44": _R,  # WITH CHECK OPTION violation
    "53": _W,  # insufficient resources: disk full, out of memory, too many connections
    "54": _R,  # program limit exceeded: a key too long for its index, JSON too deep
    "55": _W,  # object not in prerequisite state
    "57": _W,  # operator intervention
    "58": _W,  # system error: outside of PostgreSQL itself
    "72": _W,  # snapshot failure
    "F0": _W,  # configuration file error: the server's
    "HV": _W,  # foreign data wrapper error: another system behind the target
    "P0": _R,  # PL/pgSQL error: raised by a trigger or function
    "XX": _W,  # internal error: corrupted, too
}
"""Every class of the PostgreSQL manual, appendix A."""

STATES: Mapping[str, Blame] = {
    "0A000": _W,  # a cached plan's columns were altered meanwhile: the next session has none
    "25P03": _T,  # idle in transaction session timeout: we took too long in between
    "25P04": _T,  # transaction timeout
    "40002": _R,  # transaction integrity constraint violation
    "42501": _W,  # insufficient privilege: granted by a person, and then it works
    "42P05": _W,  # duplicate prepared statement: a pooler's session was somebody else's
    "54011": _S,  # too many columns
    "54023": _S,  # too many arguments
    "55P03": _T,  # lock not available: somebody holds it for longer than we waited
    "57014": _T,  # query canceled: by the statement's timeout, mostly
    "57P05": _T,  # idle session timeout
}
"""Those that are not as their class."""

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


_OF_THE_ROW = {
    errno.EOVERFLOW,  # a time stamp that is none, in `datetime.fromtimestamp`
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ),  # a file named by the row
}


def is_the_world_s(fault: BaseException) -> bool:
    """What no row is to blame for, whoever raises it."""
    if isinstance(fault, OSError):
        return fault.errno not in _OF_THE_ROW
    return isinstance(fault, MemoryError)


def blame(state: str) -> Blame:
    """Whose fault a SQLSTATE is; the world's if nobody has heard of it."""
    return STATES.get(state) or CLASSES.get(state[:2], Blame.WORLD)


def judge(fault: BaseException) -> SinkError:
    """Translate what a write raised into what the runner does next."""
    if isinstance(fault, SinkError):
        return fault
    if not isinstance(fault, psycopg.Error):
        return WriteError(f"a value does not fit its column's type ({type(fault).__name__})")
    state = fault.sqlstate
    if state is None:
        return _without_state(fault)
    return _by_state(fault, state)


def own_fault(fault: Exception) -> EventError:
    """An event's own fault, of what a mapping's functions raised; raises what is the world's."""
    if is_the_world_s(fault):
        raise RetriableError(f"a mapping's function raised {type(fault).__name__}") from fault
    if not isinstance(fault, SinkError | psycopg.Error):
        error = StepError("mapping", "columns", f"raised {type(fault).__name__}")
        error.__cause__ = fault
        return error
    judged = judge(fault)
    if isinstance(judged, EventError):
        return judged
    if judged is fault:
        raise fault
    raise judged from fault


def _by_state(fault: psycopg.Error, state: str) -> SinkError:
    name = type(fault).__name__
    match blame(state):
        case Blame.ROW:
            constraint = fault.diag.constraint_name or fault.diag.column_name
            reason = f"refused by the target: {name}" + (f" ({constraint})" if constraint else "")
            return WriteError(reason, sqlstate=state, constraint=constraint)
        case Blame.SETUP:
            return FatalError(f"the target does not understand the write: {name}, SQLSTATE {state}")
        case Blame.TIMEOUT:
            return TimedOutError(f"the target took too long: {name}, SQLSTATE {state}")
        case Blame.WORLD:
            return RetriableError(f"the target can't be written to: {name}, SQLSTATE {state}")


def _without_state(fault: psycopg.Error) -> SinkError:
    if isinstance(fault, psycopg.DataError | psycopg.ProgrammingError):  # the client's refusal
        return WriteError(f"a value can't be sent to PostgreSQL ({type(fault).__name__})")
    return RetriableError(f"no connection to the target: {type(fault).__name__}")
