"""How far the schedules have come, kept in a real database."""

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
from sink_runner.schedule.plans import Known, Outcome, Plan, Progress
from sink_runner.schedule.run_history import PostgresLedger, look_up

pytestmark = pytest.mark.postgres

NOW = datetime(2026, 11, 21, 6, 30, 15, tzinfo=UTC)

RUN = """
INSERT INTO sink.batch_run (mapping, target, mode, started, outcome, columns, cluster, seen_before,
  snapshot_at, position, sample_position, sample_before)
VALUES ('apples', 't', 'changed', %s, 'done', 1, 'c', 1, now(), 1, 1, 1)
"""


def plan(cron: str = "0 * * * *", name: str = "apples", database: str = "one", **more) -> Plan:
    return Plan(
        mapping=name,
        source="north.public.t",
        target=f"{database}.public.t",
        cron=Cron(cron),
        full=more.get("full", False),
        expected=timedelta(hours=1),
        tolerated=0,
    )


@pytest.fixture
def dsns(postgres) -> dict[str, str]:
    name = postgres.fresh_database("smart_citizen")
    return {"one": postgres.dsn(name, "sink_writer")}


@pytest.fixture
def ledger(dsns) -> Iterator[PostgresLedger]:
    made = PostgresLedger(dsns)
    yield made
    made.close()


def test_new_schedule_starts_as_done(ledger, dsns):
    assert ledger.read([plan()], NOW) == {plan(): Progress(done_until=NOW)}
    assert ledger.read([plan()], NOW + timedelta(days=1)) == {plan(): Progress(done_until=NOW)}


def test_what_is_written_is_read_by_next_scheduler(ledger, dsns):
    ledger.read([plan()], NOW)
    progress = Progress(
        done_until=NOW,
        due=NOW - timedelta(seconds=15),
        failures=2,
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=1),
        outcome=Outcome.FAILED,
    )
    assert ledger.write(plan(), progress)
    ledger.close()
    following = PostgresLedger(dsns)
    try:
        assert until_read(following) == {plan(): progress}
    finally:
        following.close()
    told = Known(progress=progress, started_at=NOW, outcome="failed")
    assert look_up([plan()], dsns) == {plan(): told}


def test_run_that_another_started_is_last_one_too(ledger, dsns, postgres):
    ledger.read([plan()], NOW)
    with psycopg.connect(dsns["one"]) as connection:
        migrate(connection)
        connection.execute(RUN, (NOW,))
    found = look_up([plan(), plan(full=True)], dsns)
    assert (found[plan()].started_at, found[plan()].outcome) == (NOW, "ok")
    assert found[plan(full=True)].started_at is None


def test_schedules_of_one_mapping_are_kept_apart(ledger):
    plans = [plan(), plan(full=True), plan("5 * * * *"), plan(name="pears")]
    ledger.read(plans, NOW)
    later = Progress(done_until=NOW + timedelta(hours=1))
    ledger.write(plans[0], later)
    found = ledger.read(plans, NOW)
    assert [found[one].done_until for one in plans] == [later.done_until, NOW, NOW, NOW]


def test_second_scheduler_waits_until_first_is_gone(ledger, dsns):
    ledger.read([plan()], NOW)
    second = PostgresLedger(dsns)
    try:
        with capture_logs() as told:
            assert second.read([plan()], NOW) == {}
            assert second.read([plan()], NOW) == {}
        assert [line["event"] for line in told] == ["schedule_waiting"]
        ledger.close()
        assert until_read(second) == {plan(): Progress(done_until=NOW)}
    finally:
        second.close()


def until_read(ledger: PostgresLedger) -> dict[Plan, Progress]:
    """The server lets go of a closed session's lock a moment later."""
    bound = time.monotonic() + 10
    while not (found := ledger.read([plan()], NOW)) and time.monotonic() < bound:
        time.sleep(0.02)
    return found


def test_a_lost_session_is_opened_again(ledger, dsns, postgres):
    ledger.read([plan()], NOW)
    name = psycopg.conninfo.conninfo_to_dict(dsns["one"])["dbname"]
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = 'sink-runner schedule'",
            (name,),
        )
    with capture_logs() as told:
        assert not ledger.write(plan(), Progress(done_until=NOW))
    assert [line["event"] for line in told] == ["schedule_waiting"]
    assert until_read(ledger) == {plan(): Progress(done_until=NOW)}


def test_silent_database_is_logged_once(ledger, dsns):
    away = {**dsns, "two": "host=127.0.0.1 port=1 dbname=x"}
    both = PostgresLedger(away)
    plans = [plan(), plan(database="two")]
    try:
        with capture_logs() as told:
            assert list(both.read(plans, NOW)) == [plan()]
            assert list(both.read(plans, NOW)) == [plan()]
        assert [line["database"] for line in told] == ["two"]
    finally:
        both.close()
    assert list(look_up(plans, away)) == [plan()]


def test_a_database_that_is_not_configured_is_named(ledger):
    with pytest.raises(ConfigError, match=r"databases\.nowhere"):
        ledger.read([plan(database="nowhere")], NOW)


def test_looking_changes_nothing(dsns, ledger):
    nothing = Known(progress=None, started_at=None, outcome="")
    assert look_up([plan()], dsns) == {plan(): nothing}
    with psycopg.connect(dsns["one"]) as connection:
        assert connection.execute("SELECT to_regclass('sink.schedule')").fetchone() == (None,)


def test_what_a_person_must_mend_ends_the_scheduler(dsns, postgres, ledger):
    with psycopg.connect(dsns["one"], autocommit=True) as owner:
        owner.execute("DROP SCHEMA sink CASCADE")
    with pytest.raises(SinkError):
        ledger.read([plan()], NOW)


def test_progress_is_kept_to_the_microsecond(ledger):
    exact = replace(Progress(done_until=NOW), due=NOW.replace(microsecond=123456))
    ledger.read([plan()], NOW)
    ledger.write(plan(), exact)
    assert ledger.read([plan()], NOW)[plan()] == exact
