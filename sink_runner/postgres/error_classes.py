"""Classify what a database refuses: data error, transient error or configuration error.

The SQLSTATE decides, together with where the server raised it: the name of the function in the
server's source code (`diag.source_function`) does not depend on the server's language, as its
messages do.  What is not listed is transient: an outage that is taken for a data error loses the
order of events and fills the dead letters, and a data error that is taken for an outage only
waits, with an alarm, for a person.  Nothing here ever quotes the database's message or detail:
both quote rows.
"""

from __future__ import annotations

import errno
import re
import struct
import traceback
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard

import psycopg

from ..config.dsn import ConnectionNote
from ..error_text import RAISING, sqlstate_of
from ..errors import (
    ConfigError,
    EventError,
    FatalError,
    RetriableError,
    SinkError,
    StepError,
    TimedOutError,
    UnreadColumnError,
    WaitingError,
    WriteError,
    class_name,
    raised,
)
from ..plugin import Table
from .missing_grant import missing_grant

_PACKAGE = Path(__file__).parents[1]


class ErrorKind(StrEnum):
    """The kind of an error, which decides what happens next."""

    ROW = "row"
    """A dead letter; later events of its key wait behind it, other keys go on."""
    TRANSIENT = "transient"
    """The mapping pauses and tries again for as long as it takes."""
    TIMEOUT = "timeout"
    """As TRANSIENT; the next attempt has a longer statement timeout."""
    CONFIGURATION = "configuration"
    """A configuration error: the mapping is quarantined until a person removes the cause."""
    UNCLEAR = "unclear"
    """A function or a trigger of the target failed: because of the row, or for every row.

    It is the row's if another row of its batch can be written, else a configuration error."""


_R, _W, _T, _S = ErrorKind.ROW, ErrorKind.TRANSIENT, ErrorKind.TIMEOUT, ErrorKind.CONFIGURATION

CLASSES: Mapping[str, ErrorKind] = {
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

STATES: Mapping[str, ErrorKind] = {
    "25P03": _T,  # idle in transaction session timeout: we took too long in between
    "25P04": _T,  # transaction timeout
    "40002": _R,  # transaction integrity constraint violation
    "42P05": _W,  # duplicate prepared statement: a pooler's session was somebody else's
    "54011": _S,  # too many columns
    "54023": _S,  # too many arguments
    "55000": _S,  # not in prerequisite state: a deferrable arbiter, a view, no replica identity
    "55P03": _T,  # lock not available: somebody holds it for longer than we waited
    "57014": _T,  # query canceled: by the statement's timeout, mostly
    "57P05": _T,  # idle session timeout
}
"""Those that are not as their class."""

_READING = {
    "42601": (  # a text that tsvector, tsquery, jsonpath, hstore, ltree and others do not read
        *("prssyntaxerror", "prseof", "makepol", "gettoken_query", "gettoken_query_standard"),
        *("jsonpath_yyerror", "seg_yyerror", "parse_ltree", "parse_lquery", "finish_nodeitem"),
    ),
    "42622": ("getid",),
    "42704": ("aclparse", "regcollationin", "regconfigin", "regdictionaryin", "regrolein"),
    "42725": ("regoperin",),
    "42883": ("regoperin", "regprocedurein", "regprocin"),
    "42P02": ("regoperatorin",),
    "3F000": ("regnamespacein",),
}
"""Input functions that raise what a wrong statement raises, too."""
READING_STATES = frozenset(_READING)

BY_FUNCTION: Mapping[tuple[str, str], ErrorKind] = {
    # A cached plan's columns were altered meanwhile: the next session has no such plan.
    ("0A000", "RevalidateCachedQuery"): _W,
    # "new row violates row-level security policy": the policy refuses this row.
    ("42501", "ExecWithCheckOptions"): _R,
    # The database takes no more transactions until it was vacuumed.
    ("54000", "GetNewTransactionId"): _W,
    ("54000", "GetNewMultiXactId"): _W,
    **{(state, name): _R for state, names in _READING.items() for name in names},
}
"""SQLSTATEs that mean something else where one function of the server raises them."""

_ENDED_STATES = frozenset({"25P01", "3B001"})
"""There is no transaction, or it is another one, which has not the savepoint."""
_RAISED = "exec_stmt_raise"
"""PL/pgSQL's RAISE: the author of the function has decided about this row."""
_RAISED_TRANSIENT = frozenset({"08", "40", "53", "57", "58"})
"""Classes that a function raises to be tried again."""
_UNCLEAR_STATES = frozenset({"54001"})  # stack depth: JSON too deep, or a trigger without an end

FOREIGN_KEY = {
    "23503",  # foreign key violation
    "23001",  # restrict violation: what PostgreSQL 18 calls a refused delete
}
"""The row waits, as for a lookup: what it refers to may be on its way."""

TAKEN = {
    "23505",  # unique violation
    "23P01",  # exclusion violation
}
"""The row waits, too: the one that holds its value may be about to give it up."""

ROW_FAULTS = (psycopg.Error, EventError)
"""What writing one row may raise; `classify_error` tells which of them are its fault."""

VALUE_FAULTS = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,  # psycopg's dumpers, of a value that is no text where text is wanted
    struct.error,
)
"""What psycopg raises for a value that its column's type cannot hold, and our own bugs raise as
well: they are a row's only where a value is being sent."""


_OF_THE_ROW = {
    errno.EOVERFLOW,  # a time stamp that is none, in `datetime.fromtimestamp`
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ),  # a file named by the row
}


def is_transient(fault: BaseException) -> bool:
    """Whether no row can cause the fault: an outage or a lack of memory."""
    if isinstance(fault, OSError):
        return fault.errno not in _OF_THE_ROW
    return isinstance(fault, MemoryError)


def classify_state(state: str, raised_by: str = "", *, inside: bool = False) -> ErrorKind:
    """Classify a SQLSTATE; one that is not listed is transient.

    `raised_by` is the server's function that raised it; `inside` tells that a function or a
    trigger of the target ran.
    """
    if known := BY_FUNCTION.get((state, raised_by)):
        return known
    found = STATES.get(state) or CLASSES.get(state[:2], ErrorKind.TRANSIENT)
    if raised_by == _RAISED:
        transient = state[:2] in _RAISED_TRANSIENT and state not in STATES
        return found if transient or found is ErrorKind.TIMEOUT else ErrorKind.ROW
    if inside and (found is ErrorKind.CONFIGURATION or state in _UNCLEAR_STATES):
        return ErrorKind.UNCLEAR
    return found


def classify_error(
    fault: BaseException,
    *,
    role: str | None = None,
    table: Table | None = None,
    unclear: ErrorKind = ErrorKind.CONFIGURATION,
) -> SinkError:
    """Translate what a write raised into what the runner does next.

    `role` and `table` are named where a privilege is missing.  `unclear` is what a fault counts as
    that may be the row's or the configuration's.
    """
    if isinstance(fault, SinkError):
        return fault
    if not isinstance(fault, psycopg.Error):
        return WriteError(f"a value does not fit its column's type ({class_name(fault)})")
    state = sqlstate_of(fault)
    if state is None:
        return _without_state(fault)
    found = error_kind(fault)
    found = unclear if found is ErrorKind.UNCLEAR else found
    if found is ErrorKind.CONFIGURATION and state == "42501":
        grant = missing_grant(fault.diag.message_primary, role, table)
        return ConfigError(f"the database refuses the write, SQLSTATE 42501: {grant}")
    return _by_kind(fault, state, found)


def error_kind(fault: psycopg.Error) -> ErrorKind:
    """Classify a fault that has a SQLSTATE."""
    assert fault.sqlstate is not None
    return classify_state(
        fault.sqlstate, fault.diag.source_function or "", inside=_inside_function(fault)
    )


def _inside_function(fault: psycopg.Error) -> bool:
    """Tell whether a function or a trigger of the target was running.

    The context names it, in the server's language; for a COPY it names the line that was read,
    and COPY is used only for tables of our own, which have no trigger.
    """
    context = (fault.diag.context or "").strip()
    return bool(context) and not context.startswith("COPY ") and context != "parallel worker"


_OWN_BUGS = (TypeError, AttributeError, LookupError, NameError, AssertionError)
_MACHINERY = frozenset(
    {"route", "incoming", "row", "before_image", "steps", "changes", "superseding"}
)
"""Modules that move events and look at no value, so that no row can make them fail."""


def own_code(fault: BaseException) -> str:
    """Return where the runner's own code raised it; "" for what a row or a mapping may cause."""
    if not isinstance(fault, _OWN_BUGS) or isinstance(fault, UnreadColumnError):
        return ""
    frames = traceback.extract_tb(fault.__traceback__)
    if not frames:
        return ""
    path = Path(frames[-1].filename)
    if not path.is_relative_to(_PACKAGE) or path.stem not in _MACHINERY:
        return ""
    return f"{path.relative_to(_PACKAGE.parent)}, line {frames[-1].lineno}"


def event_error(fault: BaseException) -> EventError:
    """Turn what a mapping's function raised into the event's error; transient errors are raised."""
    if isinstance(fault, KeyboardInterrupt):
        raise fault
    if is_transient(fault):
        raise RetriableError(f"a mapping's function raised {class_name(fault)}") from fault
    if not isinstance(fault, SinkError | psycopg.Error):
        if where := own_code(fault):
            raise FatalError(
                f"unexpected {class_name(fault)} in {where}: this is a bug of sink-runner; the "
                "mapping stops with its offsets where they are. Report it with the log"
            ) from fault
        error = StepError("mapping", "columns", raised(fault))
        error.__cause__ = fault
        return error
    judged = classify_error(fault)
    if isinstance(judged, EventError):
        return judged
    if judged is fault:
        raise fault
    raise judged from fault


def transaction_fault(fault: psycopg.Error, mapping: str) -> FatalError | None:
    """Return why a write that somebody else has ended must not be tried again, if it is that.

    The next attempt would find the offsets committed, and take the rows for written.
    """
    if fault.sqlstate not in _ENDED_STATES:
        return None
    return FatalError(
        "the transaction was ended before all of it was written: sink_write of a plugin must not "
        "COMMIT. The offsets of the batch may be committed without its rows: correct the plugin, "
        f"start the runner again and run `sink-runner batch {mapping} --full`"
    )


def _by_kind(fault: psycopg.Error, state: str, found: ErrorKind) -> SinkError:
    name = class_name(fault)
    if not (fault.diag.source_function or "").startswith(RAISING):
        if state in FOREIGN_KEY:
            return _unmet_reference(fault, state)
        if state in TAKEN:
            return _taken_value(fault, state)
    match found:
        case ErrorKind.ROW:
            by_server = not (fault.diag.source_function or "").startswith(RAISING)
            named = fault.diag.constraint_name or fault.diag.column_name
            constraint = named if by_server else None
            if state == "42501" and by_server:
                constraint = constraint or "row-level security policy"
            if fault.diag.source_function == "ExecFindPartition":
                constraint = f"no partition of {fault.diag.table_name} for this row"
            reason = f"refused by the target: {name}" + (f" ({constraint})" if constraint else "")
            return WriteError(reason, sqlstate=state, constraint=constraint)
        case ErrorKind.TIMEOUT:
            return TimedOutError(f"the target took too long: {name}, SQLSTATE {state}")
        case ErrorKind.TRANSIENT:
            return RetriableError(f"the target can't be written to: {name}, SQLSTATE {state}")
        case _:
            return ConfigError(_configuration_text(fault, name, state))


def _configuration_text(fault: psycopg.Error, name: str, state: str) -> str:
    where = (
        " in a function or trigger of the target, for every row of the batch"
        if _inside_function(fault)
        else ""
    )
    names = [
        f"{kind} {found!r}"
        for kind, found in (
            ("table", fault.diag.table_name),
            ("column", fault.diag.column_name),
            ("constraint", fault.diag.constraint_name),
        )
        if found
    ]
    about = f" ({', '.join(names)})" if names else ""
    return (
        f"the database does not accept the mapping's statement{where}: {name}, "
        f"SQLSTATE {state}{about}; compare the target table, its triggers and its constraints with "
        "the mapping: `sink-runner schema check`"
    )


def _taken_value(fault: psycopg.Error, state: str) -> WaitingError:
    """The row that has the value gives it up by a later event, perhaps of another partition."""
    name, table = fault.diag.constraint_name or "unknown", _table_of(fault)
    return WaitingError(
        f"another row of {table} has the value that unique constraint {name!r} lets one row have, "
        "and has not given it up yet; rows that swap their values wait for each other unless it is "
        f"deferrable: ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
        "UNIQUE (...) DEFERRABLE",
        sqlstate=state,
        constraint=fault.diag.constraint_name,
    )


def is_taken(error: EventError) -> TypeGuard[WaitingError]:
    """Tell whether an event waits for a value that another row has."""
    return isinstance(error, WaitingError) and error.sqlstate in TAKEN


def _unmet_reference(fault: psycopg.Error, state: str) -> WaitingError:
    """The row that a foreign key needs comes by another mapping, perhaps a little later."""
    diag = fault.diag
    return WaitingError(
        f"foreign key {diag.constraint_name or 'unknown'!r} of {_table_of(fault)} is not met: "
        "the row that it refers to is missing, or rows still refer to the deleted one",
        sqlstate=state,
        constraint=diag.constraint_name,
    )


def _table_of(fault: psycopg.Error) -> str:
    names = (fault.diag.schema_name, fault.diag.table_name)
    return ".".join(name for name in names if name) or "a table"


def _without_state(fault: psycopg.Error) -> SinkError:
    if isinstance(fault, psycopg.DataError | psycopg.ProgrammingError):  # the client's refusal
        return WriteError(f"a value can't be sent to PostgreSQL ({class_name(fault)})")
    # Of an attempt to connect, where no row was sent yet.
    notes = [it for it in getattr(fault, "__notes__", ()) if isinstance(it, ConnectionNote)]
    where = str(notes[0]) if notes else "the target"
    if refused := re.search("FATAL: +(.*)", str(fault)) if notes else None:
        where += f" ({refused[1]})"
    return RetriableError(f"no connection to {where}: {class_name(fault)}")
