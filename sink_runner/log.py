"""What the runner says: structlog, JSON or console, UTC, and never a row's value.

The text of an exception may quote a row (PostgreSQL's does), so an exception is told by its
class, SQLSTATE, constraint and frames.  Only what the runner raised itself keeps its text.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .config import Log
from .errors import class_of, is_ours
from .masking.scrub import scrub_contacts

# Libraries whose messages speak of connections and never of what is in a record.
_TRUSTED = ("kafka",)
_SQLSTATE = re.compile("[0-9A-Z]{5}")
RAISING = ("exec_stmt_raise", "PLy_")
"""The server's functions by which a function of a database raises what it likes."""
_SCALARS = (str, int, float, bool, type(None))


def configure(log: Log, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process, on stderr."""
    stream = stream or sys.stderr
    terminal = stream.isatty()
    json = log.format == "json" or (log.format == "auto" and not terminal)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            partial(_exceptions, render=list if json else "\n".join),
            _plain_values,
            _json() if json else _console(colors=terminal),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(log.level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward(logging.WARNING))
    root.setLevel(logging.WARNING)


def describe(exc: BaseException, *, nested: bool = False) -> str:
    """Name the exception's class, SQLSTATE and constraint; its text only if it is our own.

    `nested` tells that it was found as a cause or in a group.
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
    """Return the SQLSTATE of PostgreSQL's exceptions and ours; whatever else is there is none."""
    state = getattr(exc, "sqlstate", None)
    return state if isinstance(state, str) and _SQLSTATE.fullmatch(state) else None


def _constraint(exc: BaseException, *, ours: bool) -> Any:
    """The name that the server's own code gave; a function of the database may give any text."""
    if ours:
        return getattr(exc, "constraint", None)
    diag = getattr(exc, "diag", None) if class_of(exc).__module__ == "psycopg.errors" else None
    if diag is None or (diag.source_function or "").startswith(RAISING):
        return None
    return diag.constraint_name


@contextmanager
def noting(log: Any, event: str, *kinds: type[Exception]) -> Iterator[None]:
    """Log a fault of these kinds under the event's name, and go on after the block."""
    try:
        yield
    except kinds as error:
        log.error(event, error=text_of(error))  # noqa: TRY400 - its traceback may quote a row


def text_of(exc: BaseException) -> str:
    """The exception's text if it is our own; otherwise what it is, and where it was raised."""
    if is_ours(exc):
        return str(exc)
    *_, at = "nowhere", *frames(exc.__traceback__)
    return f"a plugin raised {_class(exc)} at {at}"


def trace(exc: BaseException, *, nested: bool = False) -> list[str]:
    """Return the exception and its causes, each with its frames, a line for each."""
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        told = describe(current, nested=nested or bool(lines))
        lines.append(f"{'caused by ' if lines else ''}{told}")
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


# -- processors --------------------------------------------------------------------------------


def _exceptions(
    _logger: WrappedLogger, _method: str, event: EventDict, render: Callable[[list[str]], Any]
) -> EventDict:
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = render(trace(found))
    return event


def _plain_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _plain(value) for name, value in event.items()}


def _plain(value: Any) -> Any:
    """An object's repr may hold anything, an exception's text included."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, BaseException):
        return describe(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    return f"<{type(value).__qualname__}>"


def _json() -> Processor:
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _console(*, colors: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )


class _Forward(logging.Handler):
    """Passes the libraries' warnings on; those of an untrusted one without their arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        trusted = record.name.partition(".")[0] in _TRUSTED
        structlog.get_logger().log(
            record.levelno,
            "library_warning",
            library=record.name,
            message=record.getMessage() if trusted else scrub_contacts(record.msg),
            exc_info=record.exc_info,
        )
