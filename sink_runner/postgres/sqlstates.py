"""The kind of each SQLSTATE: data error, transient error or configuration error.

The SQLSTATE decides, together with where the server raised it: the name of the function in the
server's source code (`diag.source_function`) does not depend on the server's language, as its
messages do.  What is not listed is transient: an outage that is taken for a data error loses the
order of events and fills the dead-letter queue, while a data error that is taken for an outage
only waits, with an alarm, for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ErrorKind(StrEnum):
    """The kind of an error, which decides what happens next."""

    ROW = "row"
    """A data error: the event becomes a dead letter, and later events of its key wait."""
    TRANSIENT = "transient"
    """A transient error: the mapping pauses and retries without a limit."""
    TIMEOUT = "timeout"
    """As TRANSIENT; the next attempt has a longer statement timeout."""
    CONFIGURATION = "configuration"
    """A configuration error: the mapping is quarantined until a person removes the cause."""
    UNCLEAR = "unclear"
    """A function or a trigger of the target failed, for this row or for every row.

    It is a data error if another row of the batch can be written, else a configuration error."""


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
    "42P05": _W,  # duplicate prepared statement: another client had the pooler's session
    "54011": _S,  # too many columns
    "54023": _S,  # too many arguments
    "55000": _S,  # not in prerequisite state: a deferrable arbiter, a view, no replica identity
    "55P03": _T,  # lock not available: held for longer than we waited
    "57014": _T,  # query canceled: by the statement's timeout, mostly
    "57P05": _T,  # idle session timeout
}
"""The SQLSTATEs of another kind than their class."""

_READING = {
    "42601": (  # of text for tsvector, tsquery, jsonpath, hstore, ltree and the like
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
"""Input functions that raise the SQLSTATE of a wrong statement because of a row's value."""
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
"""SQLSTATEs of another kind where one function of the server raises them."""

_RAISED = "exec_stmt_raise"
"""PL/pgSQL's RAISE: the function refuses this row."""
_RAISED_TRANSIENT = frozenset({"08", "40", "53", "57", "58"})
"""Classes by which a function asks for another attempt."""
_UNCLEAR_STATES = frozenset({"54001"})  # stack depth: JSON too deep, or a trigger without an end


def classify_state(state: str, raised_by: str = "", *, inside: bool = False) -> ErrorKind:
    """Classify a SQLSTATE; one that is not listed is transient.

    `raised_by` is the server's function that raised it; `inside` says that a function or a
    trigger of the target was running.
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
