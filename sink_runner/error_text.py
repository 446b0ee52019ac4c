"""Describe an exception without quoting a row: its class, SQLSTATE, constraint and frames.

The text of an exception may quote a row (PostgreSQL's does), so only exceptions that the runner
raised itself keep their text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from .errors import class_of, is_ours

_SQLSTATE = re.compile("[0-9A-Z]{5}")
RAISING = ("exec_stmt_raise", "PLy_")
"""Server functions that raise an exception of a database function, with any text."""


def describe(exc: BaseException, *, nested: bool = False) -> str:
    """Return the exception's class, SQLSTATE and constraint, and its text if it is the runner's.

    `nested` says that it was found as a cause or in a group.
    """
    ours = is_ours(exc, nested=nested)
    parts = [_class(exc)]
    if sqlstate := sqlstate_of(exc):
        parts.append(f"sqlstate={sqlstate}")
    if constraint := _constraint(exc, ours=ours):
        parts.append(f"constraint={constraint}")
    if ours:
        parts.append(f"({exc})")
    return " ".join(parts)


def sqlstate_of(exc: BaseException) -> str | None:
    """Return the SQLSTATE of an exception of psycopg or of the runner, else None."""
    state = getattr(exc, "sqlstate", None)
    return state if isinstance(state, str) and _SQLSTATE.fullmatch(state) else None


def _constraint(exc: BaseException, *, ours: bool) -> Any:
    """Return the name of the violated constraint; None if a database function may have set it."""
    if ours:
        return getattr(exc, "constraint", None)
    diag = getattr(exc, "diag", None) if class_of(exc).__module__ == "psycopg.errors" else None
    if diag is None or (diag.source_function or "").startswith(RAISING):
        return None
    return diag.constraint_name


@contextmanager
def log_errors(log: Any, event: str, *kinds: type[Exception]) -> Iterator[None]:
    """Log an exception of these classes as the log event `event`, and continue after the block."""
    try:
        yield
    except kinds as error:
        log.error(event, error=text_of(error))  # noqa: TRY400 - its traceback may quote a row


def text_of(exc: BaseException) -> str:
    """Return the text of an exception of the runner, else its class and where it was raised."""
    if is_ours(exc):
        return str(exc)
    *_, at = "nowhere", *frames(exc.__traceback__)
    return f"a plugin raised {_class(exc)} at {at}"


def trace(exc: BaseException, *, nested: bool = False) -> list[str]:
    """Return one line for the exception, for each of its frames, and so for each of its causes."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        described = describe(current, nested=nested or bool(lines))
        lines.append(f"{'caused by ' if lines else ''}{described}")
        lines += [f"  at {frame}" for frame in frames(current.__traceback__)]
        if isinstance(current, BaseExceptionGroup):
            parts = [line for part in current.exceptions for line in trace(part, nested=True)]
            lines += [f"  | {line}" for line in parts]
        hidden = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or hidden
    return lines


def frames(traceback: TracebackType | None) -> Iterator[str]:
    """Yield ``file:line:function``, the outermost first."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield f"{code.co_filename}:{traceback.tb_lineno}:{code.co_name}"
        traceback = traceback.tb_next


def _class(exc: BaseException) -> str:
    kind = class_of(exc)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
