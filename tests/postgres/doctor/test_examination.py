"""`sink-runner doctor` makes every check, even if others find something."""

from dataclasses import replace

import pytest

from sink_runner.doctor.check_group import CheckGroup
from sink_runner.doctor.examination import examine

pytestmark = pytest.mark.postgres


def problems(outcomes) -> list[str]:
    return [finding.fault.problem for one in outcomes for finding in one.findings]


def test_sound_deployment_has_no_finding(deployed) -> None:
    deployed.tables.create()
    outcomes = deployed.examine()
    assert problems(outcomes) == []
    assert [check for one in outcomes for check in one.not_checked] == []


def test_slow_statement_ends_its_check_only(deployed) -> None:
    deployment = replace(deployed.deployment, seconds=0.4)
    sessions = deployment.sessions()
    assert sessions.seconds < deployment.seconds

    def query(sql: str) -> tuple[()]:
        sessions.open(deployment.config.databases["north"].dsn).execute(sql.encode())
        return ()

    checks = {"slow": lambda: query("SELECT pg_sleep(9)"), "next": lambda: query("SELECT 1")}
    group = CheckGroup(name="g", checks=checks, start="", correct="", close=sessions.close)
    (outcome,) = examine([group], 20, print)
    assert [one.check for one in outcome.findings] == ["slow"]
    assert "QueryCanceled" in outcome.findings[0].fault.problem
    assert outcome.passed == ["next"]


def test_broker_that_is_down_hides_no_missing_grant(deployed, monkeypatch) -> None:
    deployed.tables.create()
    deployed.tables.run(deployed.tables.target, "REVOKE UPDATE ON {s}.t FROM sink_writer")
    monkeypatch.undo()  # port 1 of tables.config has no broker
    deployed.registry.status = 500
    outcomes = deployed.examine()
    found = {finding.check for one in outcomes for finding in one.findings}
    assert found == {"brokers", "registry", "registered_schema", "writer_privileges"}
    kafka = next(one for one in outcomes if one.group.name == "kafka")
    assert kafka.not_checked == ["listeners", "topic"]


def test_database_that_is_down_is_reported_once(deployed) -> None:
    deployed.tables.create()
    for key in ("dsn", "reader_dsn"):
        deployed.connect_differently("south", key, port=1)
    outcomes = deployed.examine()
    assert [one for one in problems(outcomes) if "no connection" in one] == problems(outcomes)
    assert len({one.check for found in outcomes for one in found.findings}) <= 2
    mapping = outcomes[-1]
    assert mapping.findings == []
    assert "writer_privileges" in mapping.not_checked
