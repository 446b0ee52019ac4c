"""The heartbeats of runners, and the command `status`."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.config.dsn import Dsn
from sink_runner.errors import AccessError, FatalError, RetriableError
from sink_runner.model.status import Health
from sink_runner.runtime.control_link import BEAT_SECONDS, ControlLink

pytestmark = pytest.mark.postgres
AGE = "UPDATE sink.mapping_status SET seen_at = now() - interval '70 s'"
RUN = """
INSERT INTO sink.batch_run (mapping, target, mode, finished, outcome, columns, cluster, seen_before,
  snapshot_at, position, sample_position, sample_before)
VALUES ('plums', 't', 'full', '2026-11-01 10:00Z', 'done', 1, 'c', 1, now(), 1, 1, 1)
"""


def reports(control: Any) -> dict[str, dict[str, Any]]:
    return {one["mapping"]: one for one in json.loads(control("status", "--json")[1])}


def test_running_mappings_return_0(control: Any) -> None:
    control.run_all()
    control.link().turn()
    code, out, _ = control("status")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["apples", "running"],
        ["pears", "running"],
        ["plums", "scheduled"],
    ]


def test_status_fits_80_columns(control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    control.run_all()
    reason = "role sink_writer may not write the table: " + "GRANT INSERT ON a TO b; " * 8
    control.health.mapping("apples").quarantined(reason, AccessError(reason), 60.0)
    control.link().turn()
    out = control("status")[1]
    assert max(map(len, out.splitlines())) <= 80
    assert "way out: grant what the reason names" in out


def test_state_without_runner_is_unknown(control: Any) -> None:
    assert reports(control)["apples"]["reason"] == "no runner has reported yet"
    control.run_all()
    control.link().turn()
    control.admin.execute(AGE)
    found = reports(control)["apples"]
    assert (found["state"], found["reason"]) == ("unknown", "no runner has reported for 70 s")
    assert found["way_out"] == "start the runner: sink-runner run"
    assert control("status")[0] == 1


def test_ended_runner_is_unknown_at_once(control: Any) -> None:
    control.run_all()
    link = control.link()
    link.turn()
    link.close()
    assert reports(control)["apples"]["state"] == "unknown"


def test_unknown_mapping_shows_its_pause(control: Any) -> None:
    control("pause", "apples", "--reason", "maintenance", "--as", "ada")
    found = reports(control)["apples"]
    assert found["state"] == "unknown"
    assert "ada paused it" in found["reason"]
    assert found["way_out"].endswith("and sink-runner resume apples")


def test_worst_state_of_runners_is_shown(control: Any) -> None:
    control.run_all()
    control.link("host:1").turn()
    other = Health()
    for name in ("apples", "pears"):
        other.mapping(name).running()
    other.mapping("apples").stopped("more dead letters than the budget", FatalError("x"))
    control.link("host:2", other).turn()
    found = reports(control)
    assert found["apples"]["state"] == "stopped"
    assert found["apples"]["reason"] == "host:2: more dead letters than the budget"
    assert found["pears"]["runners"] == ["host:1", "host:2"]


def test_lag_and_times_are_reported(control: Any) -> None:
    control.run_all()
    control.health.lag("apples").restart({0: 5})
    control.health.lag("apples").note_ends({0: 12})
    control.health.mapping("apples").committed({"written": 1}, 0.1, 1_700_000_000_000)
    control.link().turn()
    found = reports(control)["apples"]
    assert found["lag_events"] == 7
    assert found["applied_commit_at"] == "2023-11-14T22:13:20.000+00:00"
    assert datetime.fromisoformat(found["last_event_at"]).date() == datetime.now(UTC).date()
    assert found["versions"] == {"sink-runner": "1.0"}


def test_restarted_runner_keeps_last_event_of_its_row(control: Any) -> None:
    control.run_all()
    control.health.mapping("apples").committed({"written": 1}, 0.1, 1_700_000_000_000)
    control.link().turn()
    control.link(health=Health()).turn()
    assert reports(control)["apples"]["applied_commit_at"].startswith("2023-11-14")


def test_dead_letters_and_verification_are_reported(control: Any) -> None:
    control.admin.execute(
        'INSERT INTO sink.dead_letter (flow, partition, "offset", error_class, error_message, '
        "stack_trace, source_data, key_id, plugin_version, status) "
        "VALUES ('apples', 0, 1, 'E', 'm', 't', 'x', 'k', '1', 'OPEN')"
    )
    control.admin.execute(
        "INSERT INTO sink.reconcile_state VALUES ('apples', '2026-11-02 00:00Z', 1, 1, 'c', 1)"
    )
    control.admin.execute(RUN)
    found = reports(control)
    assert found["apples"]["open_dead_letters"] == 1
    assert found["apples"]["verified_through"] == "2026-11-02T00:00:00.000+00:00"
    assert found["plums"]["last_event_at"] == "2026-11-01T10:00:00.000+00:00"


def test_plugin_that_cannot_be_loaded_is_quarantined(control: Any, site: Any) -> None:
    site.plugin("broken", "def sink_mapping(): pass\nraise ValueError\n")
    text = control.config.read_text().replace('"plums"', '"plums", "broken"')
    control.config.write_text(text)
    found = reports(control)["broken"]
    assert found["state"] == "quarantined"
    assert "ValueError" in found["reason"]


def test_unreachable_database_is_unknown(control: Any) -> None:
    text = control.config.read_text().replace(f'"{control.dsn}"', '"host=127.0.0.1 port=1"')
    control.config.write_text(text)
    code, out, _ = control("status", "--json")
    assert code == 1
    assert {one["state"] for one in json.loads(out)} == {"unknown"}
    assert "database 'south' cannot be read" in json.loads(out)[0]["reason"]


def test_heartbeat_is_written_when_due_or_changed(control: Any) -> None:
    control.run_all()
    link = control.link()
    link.turn()
    seen = "SELECT max(seen_at) AS at FROM sink.mapping_status"
    (first,) = control.rows(seen)
    link.turn()
    assert control.rows(seen) == [first]
    control.health.mapping("apples").paused("no answer", RetriableError("no answer"))
    link.turn()
    assert control.rows(seen) != [first]
    (second,) = control.rows(seen)
    control.now += BEAT_SECONDS
    link.turn()
    assert control.rows(seen) != [second]


def test_runners_gone_for_a_day_are_forgotten(control: Any) -> None:
    control.link("host:1").turn()
    control.admin.execute("UPDATE sink.mapping_status SET seen_at = now() - interval '2 days'")
    control.link("host:2").turn()
    found = control.rows("SELECT DISTINCT runner FROM sink.mapping_status")
    assert found == [{"runner": "host:2"}]


def test_outage_keeps_pause_and_is_logged_once(control: Any) -> None:
    control("pause", "apples", "--reason", "maintenance")
    link = control.link()
    link.turn()
    control.admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'sink-runner control' AND datname = current_database()"
    )
    with capture_logs() as logs:
        link.turn()
    assert [one["event"] for one in logs] == ["control_failed"]
    assert link.wanted_of("apples").pause is not None
    with capture_logs() as logs:
        link.turn()
    assert logs == []


def test_first_query_reads_the_database(control: Any) -> None:
    control("pause", "apples", "--reason", "maintenance")
    assert control.link().wanted_of("apples").pause is not None
    away = ControlLink("south", Dsn.of("host=127.0.0.1 port=1"), {"apples": {}}, Health())
    with pytest.raises(RetriableError):
        away.wanted_of("apples")
