"""Log lines: their fields, and that no value of a row is in them."""

import io
import json
import logging
import re
from types import SimpleNamespace

import psycopg
import pytest
import structlog

from sink_runner import error_text, log
from sink_runner.config import Log
from sink_runner.errors import EventError, SinkError
from sink_runner.loading.mapping_checks import mapping_faults
from sink_runner.scaffold import scaffold

VALUE = "9829012345"


class UniqueViolation(psycopg.errors.UniqueViolation):
    """An error like psycopg's, whose text contains the row."""

    diag = SimpleNamespace(
        constraint_name="citizens_mobile_key", source_function="_bt_check_unique"
    )


# `describe` trusts exceptions of this module.
UniqueViolation.__module__ = "psycopg.errors"


def fail(mobile=VALUE):
    """Raise an error with the value in its text, locals, note and cause."""
    row = {"mobile": mobile}
    try:
        raise KeyError(row["mobile"])
    except KeyError as cause:
        error = UniqueViolation(f"DETAIL: Key (mobile)=({mobile}) already exists.")
        error.add_note(f"row {row}")
        raise error from cause


class Terminal(io.StringIO):
    def isatty(self):
        return True


def configure_log(output="json", level="info", stream=None):
    stream = stream or io.StringIO()
    log.configure(Log(format=output, level=level), stream)
    return stream


def strip_colours(stream):
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def test_json_line_has_level_time_and_fields():
    stream = configure_log()
    structlog.get_logger().info("runner_started", mappings=3)
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "runner_started", "level": "info", "mappings": 3}


def test_event_below_level_is_not_logged():
    stream = configure_log(level="warning")
    structlog.get_logger().info("runner_started")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("stream", "json_line"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_is_console_on_terminal_and_json_elsewhere(stream, json_line):
    configure_log("auto", stream=stream)
    structlog.get_logger().info("runner_started")
    assert stream.getvalue().startswith("{") is json_line


@pytest.mark.parametrize("output", ["json", "console"])
def test_exception_is_logged_without_values(output):
    stream = configure_log(output)
    try:
        fail()
    except psycopg.errors.UniqueViolation as exc:
        structlog.get_logger().exception("write_failed", error=exc, seen=[exc], named={"e": exc})
    text = strip_colours(stream)
    assert VALUE not in text
    assert "UniqueViolation sqlstate=23505 constraint=citizens_mobile_key" in text
    assert re.search(r"test_log\.py:\d+:fail", text)
    assert "caused by KeyError" in text


def test_exception_group_is_logged_without_values():
    stream = configure_log()
    group = ExceptionGroup(f"group of {VALUE}", [ValueError(VALUE), TypeError(VALUE)])
    structlog.get_logger().error("several", exc_info=group)
    assert VALUE not in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "TypeError" in stream.getvalue()


def test_object_is_logged_by_class():
    stream = configure_log()
    structlog.get_logger().warning("odd", row=SimpleNamespace(mobile=VALUE), raw=VALUE.encode())
    line = json.loads(stream.getvalue())
    assert (line["row"], line["raw"]) == ("<SimpleNamespace>", "<bytes>")


def test_error_of_runner_keeps_its_text(tmp_path):
    (tmp_path / "orders").mkdir()
    names = {"source": "a.b.c", "target": "d.e.f", "key": ("id",), "version": "at"}
    with pytest.raises(SinkError) as caught:
        scaffold(tmp_path, "orders", **names)
    assert "orders exists" in error_text.describe(caught.value)


def test_text_of_plugin_error_is_not_logged():
    with pytest.raises(EventError) as caught:
        raise EventError(f"cannot map {VALUE}")
    assert error_text.describe(caught.value) == "sink_runner.errors.EventError"


def test_text_of_other_error_is_not_logged():
    with pytest.raises(AttributeError) as caught:
        mapping_faults(None)
    assert error_text.describe(caught.value) == "AttributeError"


def test_warnings_of_kafka_client_are_logged():
    stream = configure_log()
    logging.getLogger("kafka.conn").warning("node %s went away", 1)
    logging.getLogger("kafka.conn").info("connected")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line["event"] == "library_warning"
    assert (line["library"], line["message"]) == ("kafka.conn", "node 1 went away")
    assert line["level"] == "warning"


def test_arguments_of_library_warnings_are_not_logged():
    stream = configure_log()
    try:
        fail()
    except psycopg.errors.UniqueViolation as exc:
        logging.getLogger("psycopg").warning("error ignored in rollback: %s", exc, exc_info=True)
    assert VALUE not in stream.getvalue()
    assert "error ignored in rollback: %s" in stream.getvalue()


def test_second_configuration_does_not_duplicate_lines():
    configure_log()
    stream = configure_log()
    logging.getLogger("kafka").warning("once")
    assert len(stream.getvalue().splitlines()) == 1
