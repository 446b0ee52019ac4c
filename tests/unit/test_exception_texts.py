"""No value in an exception of a plugin or database reaches logs, output, state or metrics."""

import io
import json
import threading
from contextlib import suppress
from types import SimpleNamespace

import psycopg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from sink_runner import errors, log
from sink_runner.batch.report import Report
from sink_runner.cli import program
from sink_runner.config import Log
from sink_runner.error_text import describe, text_of, trace
from sink_runner.errors import (
    ConfigError,
    EventError,
    ExpiredError,
    FatalError,
    FencedError,
    PoliciesChangedError,
    QualityError,
    RetriableError,
    SinkError,
    StepError,
    StoppedError,
    UnreadColumnError,
    WaitingError,
    WriteError,
    describe_raised,
)
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.model.message import Message
from sink_runner.model.status import Health
from sink_runner.postgres.error_classes import classify_error, event_error
from sink_runner.runtime.mapping_thread import MappingThread
from sink_runner.writer.dead_letters import described, report

CANARY = "Zq7canary"
PARTS = ("args", "notes", "cause", "context", "group", "attributes", "text", "class", "kind")
RUNNER_ERRORS = (
    EventError,
    RetriableError,
    ConfigError,
    FatalError,
    FencedError,
    PoliciesChangedError,
    StoppedError,
    SinkError,
)
KINDS = (
    *RUNNER_ERRORS,
    *(ValueError, KeyError, OSError, UnicodeError, StopIteration, UnreadColumnError, psycopg.Error),
    *(psycopg.errors.UniqueViolation, psycopg.errors.RaiseException),
)


class PluginOwnError(EventError):
    """An error of a plugin, whose text contains its arguments."""

    def __str__(self):
        return f"of {self.args}"


def create_error(kind, parts):
    """Return an exception of this class that contains the canary in these parts."""
    if "kind" in parts:
        kind = type(kind.__name__, (kind,), {"__str__": lambda _: CANARY, "__module__": __name__})
    if "class" in parts:
        kind = type(CANARY, (kind,), {"__module__": CANARY})
    text = CANARY if "args" in parts else "no"
    error = kind(text)
    if "text" in parts:
        error = PluginOwnError(CANARY)
    if "notes" in parts:
        error.add_note(CANARY)
    if "attributes" in parts:
        for name in ("sqlstate", "constraint", "column", "rule", "reason", "plugin", "step"):
            set_attribute(error, name)
        diag = SimpleNamespace(constraint_name=CANARY, source_function="exec_stmt_raise")
        set_attribute(error, "diag", diag)
    if "group" in parts:
        error = ExceptionGroup(CANARY, [error, EventError(CANARY), KeyError(CANARY)])
    return error


def set_attribute(error, name, value=CANARY):
    with suppress(AttributeError):  # those of psycopg's errors are read-only
        setattr(error, name, value)


def raise_in_plugin(kind, parts):
    """Raise the exception as a plugin does, with its cause or context."""
    error = create_error(kind, parts)
    if "cause" in parts:
        raise error from EventError(CANARY)
    if "context" in parts:
        try:
            raise WriteError(CANARY, sqlstate=CANARY, constraint=CANARY)
        except WriteError:
            raise error  # noqa: B904 - the context is what the test needs
    raise error


def catch_error(kind, parts):
    try:
        raise_in_plugin(kind, parts)
    except BaseException as error:  # noqa: BLE001 - any exception
        return error
    raise AssertionError


def log_error(output, error):
    stream = io.StringIO()
    log.configure(Log(format=output, level="info"), stream)
    structlog.get_logger().error("failed", exc_info=error, error=error, seen=[{"e": error}])
    dead_letter = DeadLetter(Message("t", 0, 1, None, b""), error)
    hooks = SimpleNamespace(failed=lambda *_: None)
    report([dead_letter], structlog.get_logger(), hooks, lambda _: None)
    return stream.getvalue()


def print_error(error, capsys):
    program.report(error, "sink_runner.cli.batch")
    captured = capsys.readouterr()
    return captured.out + captured.err


def status_of(error):
    """Return the state and the metrics of a mapping whose worker raised the error."""
    health = Health()

    def run():
        raise error

    worker = SimpleNamespace(run=run, counts={}, cancel=lambda: None)
    stop = threading.Event()
    thread = MappingThread("one", lambda: worker, health.mapping("one"), stop)
    stop.set()
    thread.start()
    thread.join(60)
    texts = [status.as_dict() for status in health.statuses().values()]
    return json.dumps(texts) + generate_latest(health.registry).decode()


def classify(error):
    """Return the error of the dead letter, or the one that pauses or stops the mapping."""
    try:
        return event_error(error)
    except BaseException as raised:  # noqa: BLE001 - any exception
        return raised


every = given(
    kind=st.sampled_from(KINDS), parts=st.sets(st.sampled_from(PARTS), min_size=1).map(frozenset)
)


@every
def test_no_part_of_exception_is_in_texts(kind, parts):
    error = catch_error(kind, parts)
    for exception in (error, classify(error)):
        texts = [
            describe(exception),
            text_of(exception),
            describe_raised(exception),
            errors.own_text(exception),
        ]
        texts += [*trace(exception), *map(str, described(exception))]
        report = Report(mapping="m", mode="full", dry_run=False)
        hooks = SimpleNamespace(failed=lambda *_: None)
        report.note_failures([DeadLetter(Message("t", 0, 1, None, b""), exception)], hooks)
        texts += [report.json(), *report.lines()]
        assert [text for text in texts if CANARY in text] == []


@pytest.mark.parametrize("output", ["json", "console"])
@every
def test_no_part_of_exception_is_logged(output, kind, parts):
    error = catch_error(kind, parts)
    for exception in (error, classify(error)):
        assert CANARY not in log_error(output, exception)
    log.configure(Log(format="json", level="critical"), io.StringIO())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_part_of_exception_is_printed_or_published(kind, part, capsys):
    error = catch_error(kind, {part, "args"})
    assert CANARY not in print_error(error, capsys)
    assert CANARY not in status_of(error)


@pytest.mark.parametrize("part", ["cause", "context", "group"])
def test_trace_names_classes_of_nested_exceptions(part):
    """The class of an exception contains no value."""
    assert "sink_runner.errors." in "\n".join(trace(catch_error(ValueError, {part})))


@pytest.mark.parametrize(
    "error",
    [
        QualityError("rule", "column"),
        StepError("plugin", "sink_map", "raised ValueError"),
        WaitingError("lookup of column 'x' found nothing", "x"),
        ExpiredError.of(WaitingError("lookup of column 'x' found nothing", "x")),
        classify_error(psycopg.errors.DataError("no")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unraised_error_of_runner_keeps_text(error):
    assert text_of(error) == str(error)
    assert str(error) in describe(error)


def test_expired_error_contains_no_text_of_plugin():
    error = catch_error(WaitingError, {"args"})
    assert CANARY not in str(ExpiredError.of(error))
