"""The report of `sink-runner doctor`: for people and as JSON."""

from sink_runner.doctor import report
from sink_runner.doctor.check_group import CheckGroup
from sink_runner.doctor.examination import Examined
from sink_runner.model.findings import Fault, Finding

GRANT = Fault("role r lacks INSERT on t", "INSERT", "GRANT INSERT ON t TO r", column="v")
SLOW = Fault("a warning of t", "none", "wait", refused=False)


def group(name: str) -> CheckGroup:
    return CheckGroup(name=name, checks={"a": list, "b": list}, start="", correct="")


def outcome(name: str, *faults: Fault, **more) -> Examined:
    mapping = name.removeprefix("mapping ")
    findings = [Finding(mapping=mapping, check="a", fault=fault) for fault in faults]
    return Examined(group(name), findings=findings, **more)


def test_group_without_finding_has_one_line() -> None:
    sound = outcome("kafka", passed=["a", "b"], version="Kafka 4.1")
    assert [*report.lines([sound])] == ["ok       kafka  Kafka 4.1, 2 of 2 checks passed"]
    assert report.is_sound([sound])


def test_group_with_unmade_checks_is_unknown() -> None:
    (line,) = report.lines([outcome("kafka", passed=["a"], not_checked=["b"])])
    assert line == "unknown  kafka  1 of 2 checks passed, 1 not made"


def test_same_fault_of_mappings_is_printed_once() -> None:
    outcomes = [outcome("mapping one", GRANT), outcome("mapping two", GRANT, SLOW)]
    text = "\n".join(report.lines(outcomes))
    assert text.count("GRANT INSERT ON t TO r") == 1
    assert "refused: a of one, two" in text
    assert "warning: a of two" in text
    assert not report.is_sound(outcomes)


def test_json_has_statement_and_effect() -> None:
    found = report.as_json([outcome("mapping one", GRANT), outcome("mapping two", SLOW)])
    assert found["result"] == "refused"
    first, second = (one["findings"][0] for one in found["groups"])
    assert (first["sql"], second["sql"]) == ("GRANT INSERT ON t TO r", None)
    assert (first["mapping"], first["column"]) == ("one", "v")
    assert first["effect"] == "the mapping does not start, or pauses"
    assert second["severity"] == "warning"
