"""The checks of groups: time limits, errors, and the statement of a remedy."""

import threading

import pytest

from sink_runner.config.dsn import Dsn
from sink_runner.doctor import check_group
from sink_runner.doctor.check_group import CheckGroup, Sessions
from sink_runner.doctor.examination import examine
from sink_runner.errors import ConfigError, RetriableError
from sink_runner.model.findings import Fault


def group(**checks) -> CheckGroup:
    return CheckGroup(name="group", checks=checks, start="start it", correct="correct it")


def test_check_that_hangs_ends_its_group_only() -> None:
    ended = threading.Event()
    hanging = group(first=lambda: ended.wait() and (), second=lambda: ())
    other = group(third=lambda: [Fault("wrong", "right", "GRANT USAGE ON SCHEMA s TO r")])
    slow, fast = examine([hanging, other], 0.05, lambda _name: None)
    ended.set()
    assert "first did not end in 0.05 seconds" in slow.findings[0].fault.problem
    assert (slow.passed, slow.not_checked) == ([], ["second"])
    assert fast.findings[0].fault.sql == "GRANT USAGE ON SCHEMA s TO r"


def test_unreachable_server_is_tried_once(monkeypatch) -> None:
    attempts = []

    def refuse(dsn, *_arguments):
        attempts.append(dsn)
        raise RetriableError("no answer")

    monkeypatch.setattr(check_group, "connect", refuse)
    dsn = Dsn.of("host=nowhere")
    one = Sessions(1)
    for sessions in (one, one, Sessions(1, one.failed)):
        with pytest.raises(RetriableError):
            sessions.open(dsn)
    assert attempts == [dsn]


def test_unexpected_error_hides_no_other_check() -> None:
    def fail():
        raise ZeroDivisionError("9876 5432 1012")

    (found,) = examine([group(first=fail, second=lambda: ())], 5, lambda _name: None)
    assert "ZeroDivisionError" in found.findings[0].fault.problem
    assert "9876" not in found.findings[0].fault.problem
    assert found.passed == ["second"]


def test_outage_says_what_to_start() -> None:
    def fail():
        raise RetriableError("no answer")

    (found,) = examine([group(first=fail)], 5, lambda _name: None)
    assert found.findings[0].fault.remedy == "start it"


@pytest.mark.parametrize(
    ("remedy", "sql"),
    [
        ("GRANT DELETE ON t TO r, or declare on_delete=Ignore()", "GRANT DELETE ON t TO r"),
        ("ALTER SYSTEM SET a = 1 and restart the server", "ALTER SYSTEM SET a = 1"),
        ('GRANT UPDATE ("a", "or") ON t TO r', 'GRANT UPDATE ("a", "or") ON t TO r'),
        ("ALTER TABLE t RENAME COLUMN a TO ...", ""),
        ("ALTER PUBLICATION <the publication that capture reads> ADD TABLE t", ""),
        ("correct the query in the plugin", ""),
    ],
)
def test_statement_of_remedy_can_be_pasted(remedy, sql) -> None:
    assert Fault("wrong", "right", remedy).sql == sql


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("no login (refused): check dsn", "no login (refused)", "check dsn"),
        ("no such file: a.json", "no such file: a.json", "correct it"),
        ("tables are old:\n  ALTER TABLE t", "tables are old:\n  ALTER TABLE t", "correct it"),
    ],
)
def test_error_keeps_its_own_remedy(text, problem, remedy) -> None:
    (fault,) = group().faults(ConfigError(text))
    assert (fault.problem, fault.remedy) == (problem, remedy)
