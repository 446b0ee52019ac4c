"""Translate what a database or a mapping's function raised into an error of the runner.

No error's text quotes the database's message or detail, because both quote rows.
"""

from __future__ import annotations

import errno
import re
import struct
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
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
    describe_raised,
)
from ..plugin import Table
from .missing_grant import missing_grant
from .sqlstates import ErrorKind, classify_state

_PACKAGE = Path(__file__).parents[1]


_ENDED_STATES = frozenset({"25P01", "3B001"})
"""There is no transaction, or it is another one, which has not the savepoint."""
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
"""What writing one row may raise; `classify_error` finds the data errors among them."""

VALUE_FAULTS = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,  # psycopg's dumpers, for another value than the text that they expect
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


@contextmanager
def classified_errors() -> Iterator[None]:
    """Raise the error of `classify_error` for an error of psycopg in the block."""
    try:
        yield
    except psycopg.Error as fault:
        raise classify_error(fault) from fault


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
    """Return whether a function or a trigger of the target was running.

    The context names it, in the server's language; for a COPY it names the line that was read,
    and COPY is used only for tables of our own, which have no trigger.
    """
    context = (fault.diag.context or "").strip()
    return bool(context) and not context.startswith("COPY ") and context != "parallel worker"


_OWN_BUGS = (TypeError, AttributeError, LookupError, NameError, AssertionError)
_MACHINERY = frozenset(
    {"route", "incoming", "lookup_step", "row", "before_image", "steps", "changes", "superseding"}
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
        step_error = StepError("mapping", "columns", describe_raised(fault))
        step_error.__cause__ = fault
        return step_error
    error = classify_error(fault)
    if isinstance(error, EventError):
        return error
    if error is fault:
        raise fault
    raise error from fault


def transaction_fault(fault: psycopg.Error, mapping: str) -> FatalError | None:
    """Return the error of a transaction that a plugin has ended; None for any other fault.

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
    """Return whether an event waits for a value that another row has."""
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
