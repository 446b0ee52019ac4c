"""Whatever an exception of a plugin or of a database holds, no value leaves the process with it."""

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
OURS = (
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
    *OURS,
    *(ValueError, KeyError, OSError, UnicodeError, StopIteration, UnreadColumnError, psycopg.Error),
    *(psycopg.errors.UniqueViolation, psycopg.errors.RaiseException),
)


class LoudError(EventError):
    """A plugin's own, whose text is made of what it was given."""

    def __str__(self):
        return f"of {self.args}"


def made(kind, parts):
    """An exception of this kind that holds the canary in these parts of it."""
    if "kind" in parts:
        kind = type(kind.__name__, (kind,), {"__str__": lambda _: CANARY, "__module__": __name__})
    if "class" in parts:
        kind = type(CANARY, (kind,), {"__module__": CANARY})
    text = CANARY if "args" in parts else "no"
    fault = kind(text)
    if "text" in parts:
        fault = LoudError(CANARY)
    if "notes" in parts:
        fault.add_note(CANARY)
    if "attributes" in parts:
        for name in ("sqlstate", "constraint", "column", "rule", "reason", "plugin", "step"):
            set_attribute(fault, name)
        diag = SimpleNamespace(constraint_name=CANARY, source_function="exec_stmt_raise")
        set_attribute(fault, "diag", diag)
    if "group" in parts:
        fault = ExceptionGroup(CANARY, [fault, EventError(CANARY), KeyError(CANARY)])
    return fault


def set_attribute(fault, name, value=CANARY):
    with suppress(AttributeError):  # PostgreSQL's are read-only
        setattr(fault, name, value)


def plugin_raises(kind, parts):
    """Raise it as a plugin does, with what it was caused by."""
    fault = made(kind, parts)
    if "cause" in parts:
        raise fault from EventError(CANARY)
    if "context" in parts:
        try:
            raise WriteError(CANARY, sqlstate=CANARY, constraint=CANARY)
        except WriteError:
            raise fault  # noqa: B904 - the context is what is tried
    raise fault


def caught(kind, parts):
    try:
        plugin_raises(kind, parts)
    except BaseException as fault:  # noqa: BLE001 - whatever it is
        return fault
    raise AssertionError


def logged(output, fault):
    stream = io.StringIO()
    log.configure(Log(format=output, level="info"), stream)
    structlog.get_logger().error("failed", exc_info=fault, error=fault, seen=[{"e": fault}])
    dead_letter = DeadLetter(Message("t", 0, 1, None, b""), fault)
    hooks = SimpleNamespace(failed=lambda *_: None)
    report([dead_letter], structlog.get_logger(), hooks, lambda _: None)
    return stream.getvalue()


def command_line(fault, capsys):
    program.report(fault, "sink_runner.cli.batch")
    captured = capsys.readouterr()
    return captured.out + captured.err


def status_of(fault):
    """What /readyz and /metrics say of a mapping whose worker raised it."""
    health = Health()

    def run():
        raise fault

    worker = SimpleNamespace(run=run, counts={}, cancel=lambda: None)
    stop = threading.Event()
    thread = MappingThread("one", lambda: worker, health.mapping("one"), stop)
    stop.set()
    thread.start()
    thread.join(5)
    texts = [status.as_dict() for status in health.statuses().values()]
    return json.dumps(texts) + generate_latest(health.registry).decode()


def classified(fault):
    """What the route makes of it, as a dead letter or as a reason to pause."""
    try:
        return event_error(fault)
    except BaseException as found:  # noqa: BLE001 - a pause, or a stop
        return found


every = given(
    kind=st.sampled_from(KINDS), parts=st.sets(st.sampled_from(PARTS), min_size=1).map(frozenset)
)


@every
def test_no_part_of_an_exception_is_shown(kind, parts):
    fault = caught(kind, parts)
    for one in (fault, classified(fault)):
        texts = [
            describe(one),
            text_of(one),
            describe_raised(one),
            errors.own_text(one),
        ]
        texts += [*trace(one), *map(str, described(one))]
        report = Report(mapping="m", mode="full", dry_run=False)
        hooks = SimpleNamespace(failed=lambda *_: None)
        report.note_failures([DeadLetter(Message("t", 0, 1, None, b""), one)], hooks)
        texts += [report.json(), *report.lines()]
        assert [text for text in texts if CANARY in text] == []


@pytest.mark.parametrize("output", ["json", "console"])
@every
def test_no_part_of_an_exception_is_logged(output, kind, parts):
    fault = caught(kind, parts)
    for one in (fault, classified(fault)):
        assert CANARY not in logged(output, one)
    log.configure(Log(format="json", level="critical"), io.StringIO())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_part_of_exception_is_printed_or_status(kind, part, capsys):
    fault = caught(kind, {part, "args"})
    assert CANARY not in command_line(fault, capsys)
    assert CANARY not in status_of(fault)


@pytest.mark.parametrize("part", ["cause", "context", "group"])
def test_classes_of_nested_exceptions_are_shown(part):
    """What can be known without a value is."""
    assert "sink_runner.errors." in "\n".join(trace(caught(ValueError, {part})))


@pytest.mark.parametrize(
    "fault",
    [
        QualityError("rule", "column"),
        StepError("plugin", "sink_map", "raised ValueError"),
        WaitingError("lookup of column 'x' found nothing", "x"),
        ExpiredError.of(WaitingError("lookup of column 'x' found nothing", "x")),
        classify_error(psycopg.errors.DataError("no")),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_unraised_error_of_runner_keeps_text(fault):
    assert text_of(fault) == str(fault)
    assert str(fault) in describe(fault)


def test_an_error_that_gave_up_quotes_no_plugin():
    error = caught(WaitingError, {"args"})
    assert CANARY not in str(ExpiredError.of(error))
