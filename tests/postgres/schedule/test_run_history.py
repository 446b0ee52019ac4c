"""The progress of schedules, stored in a real database."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from structlog.testing import capture_logs

from sink_runner.errors import ConfigError, SinkError
from sink_runner.model.timetable import Cron
from sink_runner.postgres.migrations import migrate
from sink_runner.schedule.plans import Outcome, Plan, PlanState, Progress
from sink_runner.schedule.run_history import PostgresRunHistory, read_states

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 11, 21, 6, 30, 15, tzinfo=UTC)

RUN = """
INSERT INTO sink.batch_run (mapping, target, mode, started, outcome, columns, cluster, seen_before,
  snapshot_at, position, sample_position, sample_before)
VALUES ('apples', 't', 'changed', %s, 'done', 1, 'c', 1, now(), 1, 1, 1)
"""
RECONCILIATION = """
INSERT INTO sink.reconcile_run (mapping, mode, started, outcome, columns, cluster, seen_before,
  snapshot_at)
VALUES ('apples', 'changed', %s, 'different', 1, 'c', 1, now())
"""


def plan(cron: str = "0 * * * *", name: str = "apples", database: str = "one", **more) -> Plan:
    return Plan(
        mapping=name,
        source="north.public.t",
        target=f"{database}.public.t",
        cron=Cron(cron),
        full=more.get("full", False),
        expected=timedelta(hours=1),
        reconciles=more.get("reconciles", False),
    )


@pytest.fixture
def dsns(postgres) -> dict[str, str]:
    name = postgres.fresh_database("smart_citizen", migrated=False)
    return {"one": postgres.dsn(name, "sink_writer")}


@pytest.fixture
def history(dsns) -> Iterator[PostgresRunHistory]:
    opened = PostgresRunHistory(dsns)
    yield opened
    opened.close()


def test_new_schedule_starts_without_missed_runs(history, dsns):
    assert history.read([plan()], NOW) == {plan(): Progress(done_until=NOW)}
    assert history.read([plan()], NOW + timedelta(days=1)) == {plan(): Progress(done_until=NOW)}


def test_progress_is_read_by_next_scheduler(history, dsns):
    history.read([plan()], NOW)
    progress = Progress(
        done_until=NOW,
        due=NOW - timedelta(seconds=15),
        failures=2,
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=1),
        outcome=Outcome.FAILED,
    )
    assert history.write(plan(), progress)
    history.close()
    following = PostgresRunHistory(dsns)
    try:
        assert read_when_unlocked(following) == {plan(): progress}
    finally:
        following.close()
    state = PlanState(progress=progress, started_at=NOW, outcome="failed")
    assert read_states([plan()], dsns) == {plan(): state}


def test_last_run_includes_manual_runs(history, dsns, postgres):
    history.read([plan()], NOW)
    with psycopg.connect(dsns["one"]) as connection:
        migrate(connection)
        connection.execute(RUN, (NOW,))
    found = read_states([plan(), plan(full=True)], dsns)
    assert (found[plan()].started_at, found[plan()].outcome) == (NOW, "ok")
    assert found[plan(full=True)].started_at is None


def test_last_reconciliation_includes_manual_runs(history, dsns):
    daily, weekly = plan(reconciles=True), plan(full=True, reconciles=True)
    history.read([daily], NOW)
    with psycopg.connect(dsns["one"]) as connection:
        connection.execute(RECONCILIATION, (NOW,))
    found = read_states([daily, weekly, plan()], dsns)
    assert (found[daily].started_at, found[daily].outcome) == (NOW, "different")
    assert found[weekly].started_at is found[plan()].started_at is None


def test_schedules_of_one_mapping_have_separate_progress(history):
    plans = [plan(), plan(full=True), plan("5 * * * *"), plan(name="pears")]
    history.read(plans, NOW)
    later = Progress(done_until=NOW + timedelta(hours=1))
    history.write(plans[0], later)
    found = history.read(plans, NOW)
    assert [found[one].done_until for one in plans] == [later.done_until, NOW, NOW, NOW]


def test_second_scheduler_waits_until_first_ends(history, dsns):
    history.read([plan()], NOW)
    second = PostgresRunHistory(dsns)
    try:
        with capture_logs() as logs:
            assert second.read([plan()], NOW) == {}
            assert second.read([plan()], NOW) == {}
        assert [line["event"] for line in logs] == ["schedule_waiting"]
        history.close()
        assert read_when_unlocked(second) == {plan(): Progress(done_until=NOW)}
    finally:
        second.close()


def read_when_unlocked(history: PostgresRunHistory) -> dict[Plan, Progress]:
    """Read until the server has released the lock of a session that was just closed."""
    bound = time.monotonic() + 10
    while not (found := history.read([plan()], NOW)) and time.monotonic() < bound:
        time.sleep(0.02)
    return found


def test_lost_session_is_reopened(history, dsns, postgres):
    history.read([plan()], NOW)
    name = psycopg.conninfo.conninfo_to_dict(dsns["one"])["dbname"]
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = 'sink-runner schedule'",
            (name,),
        )
    with capture_logs() as logs:
        assert not history.write(plan(), Progress(done_until=NOW))
    assert [line["event"] for line in logs] == ["schedule_waiting"]
    assert read_when_unlocked(history) == {plan(): Progress(done_until=NOW)}


def test_unreachable_database_is_logged_once(history, dsns):
    with_unreachable = {**dsns, "two": "host=127.0.0.1 port=1 dbname=x"}
    both = PostgresRunHistory(with_unreachable)
    plans = [plan(), plan(database="two")]
    try:
        with capture_logs() as logs:
            assert list(both.read(plans, NOW)) == [plan()]
            assert list(both.read(plans, NOW)) == [plan()]
        assert [line["database"] for line in logs] == ["two"]
    finally:
        both.close()
    assert list(read_states(plans, with_unreachable)) == [plan()]


def test_unconfigured_database_is_named(history):
    with pytest.raises(ConfigError, match=r"databases\.unknown"):
        history.read([plan(database="unknown")], NOW)


def test_reading_states_creates_nothing(dsns, history):
    no_state = PlanState(progress=None, started_at=None, outcome="")
    assert read_states([plan()], dsns) == {plan(): no_state}
    with psycopg.connect(dsns["one"]) as connection:
        assert connection.execute("SELECT to_regclass('sink.schedule')").fetchone() == (None,)


def test_missing_schema_ends_the_scheduler(dsns, postgres, history):
    with psycopg.connect(dsns["one"], autocommit=True) as owner:
        owner.execute("DROP SCHEMA sink CASCADE")
    with pytest.raises(SinkError):
        history.read([plan()], NOW)


def test_progress_is_stored_to_the_microsecond(history):
    exact = replace(Progress(done_until=NOW), due=NOW.replace(microsecond=123456))
    history.read([plan()], NOW)
    history.write(plan(), exact)
    assert history.read([plan()], NOW)[plan()] == exact


def test_plans_of_paused_mapping_are_left_out(history, dsns):
    history.read([plan(), plan(name="pears")], NOW)
    with psycopg.connect(dsns["one"], autocommit=True) as session:
        session.execute(
            "INSERT INTO sink.mapping_control VALUES ('apples', 'paused', 'maintenance', 'ada')"
        )
        assert history.read([plan(), plan(name="pears")], NOW).keys() == {plan(name="pears")}
        session.execute("UPDATE sink.mapping_control SET desired = 'running'")
    assert plan() in history.read([plan()], NOW)
