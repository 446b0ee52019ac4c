"""Logging by structlog, as JSON or for a console, in UTC, and never with a value of a row.

An exception is logged with its class, SQLSTATE, constraint and frames; `error_text` says why.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .config.sections import Log
from .error_text import describe, trace
from .masking.scrub import scrub_contacts

# The messages of these libraries are about connections and never quote a record.
_TRUSTED = ("kafka",)
_SCALARS = (str, int, float, bool, type(None))


def configure(log: Log, stream: TextIO | None = None) -> None:
    """Configure structlog and the standard library's logging for this process, on stderr."""
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
    """Return the value without any object's repr, which may hold a row."""
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
    """Forwards warnings of libraries to structlog, without their arguments unless trusted."""

    def emit(self, record: logging.LogRecord) -> None:
        trusted = record.name.partition(".")[0] in _TRUSTED
        structlog.get_logger().log(
            record.levelno,
            "library_warning",
            library=record.name,
            message=record.getMessage() if trusted else scrub_contacts(record.msg),
            exc_info=record.exc_info,
        )
