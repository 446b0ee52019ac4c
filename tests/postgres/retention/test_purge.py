"""`purge` deletes rows past their retention, and none that the sink still reads."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sink_runner.batch.run_store import RunStore
from sink_runner.config import load
from sink_runner.model.timetable import Cron
from sink_runner.postgres.session import connect
from sink_runner.retention import daily, purge
from sink_runner.retention.purge import Purge
from sink_runner.schedule.plans import Plan, Progress
from sink_runner.schedule.run_history import PostgresRunHistory, read_states

from ...support.waits import eventually

pytestmark = pytest.mark.postgres
NOW = datetime.now(UTC)
RUN = """
INSERT INTO sink.batch_run (mapping, target, mode, started, progressed, finished, outcome, columns,
  cluster, seen_before, snapshot_at, position, sample_position, sample_before)
VALUES (%(mapping)s, 't', %(mode)s, now() - %(age)s, now() - %(age)s, now() - %(age)s, %(outcome)s,
  1, %(cluster)s, 1, now(), 1, %(place)s, 1)
"""
REVIEW = "manual_review"
CONFLICT = """
INSERT INTO sink.conflict (table_name, record_id, source_database, target_database, conflict_type,
  resolution_action, detected_at, resolved_at, resolution_notes)
VALUES ('t', '1', 'a', 'b', 'data_conflict', %(action)s, now() AT TIME ZONE 'UTC' - %(age)s,
  CASE WHEN %(action)s = 'merged' THEN now() AT TIME ZONE 'UTC' - %(age)s END,
  extract(day FROM %(age)s) || ' days')
"""
MAY_DELETE = "SELECT has_table_privilege('sink_writer', 'sink.conflict', 'DELETE')"
SCHEDULE = "INSERT INTO sink.schedule (mapping, mode, cron, done_until) VALUES (%s, %s, %s, %s)"
REQUEST = """
INSERT INTO sink.control_request (mapping, kind, requested_by, requested_at)
VALUES ('a', %s, 'ada', now() - %s)
"""
VERSION = "INSERT INTO sink.row_version (mapping, key, position, deleted_at) VALUES (%s, %s, 1, %s)"


def run_purge(harness: Any, *arguments: str) -> dict[str, int]:
    """Run the command and return the number of rows deleted from each table."""
    code, out, err = harness.call("purge", *arguments)
    assert (code, err) == (0, "")
    found = {}
    for line in out.splitlines():
        database, table, count = line.split(": ")
        assert database == harness.database
        found[table] = int(count.split()[0])
    return found


def age_dead_letters(harness: Any, days: int) -> None:
    harness.admin.execute(
        "UPDATE sink.dead_letter SET settled_at = settled_at - %(age)s, "
        "created_at = created_at - %(age)s",
        {"age": timedelta(days=days)},
    )


def add_discarded(harness: Any, identity: int) -> None:
    """Add a discarded dead letter."""
    harness.send(harness.event(identity, "bad"))
    harness.dlq("discard", harness.id(-1), "--reason", "test")
    harness.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")


class TestDeadLetters:
    def test_settled_are_deleted_after_retention(self, harness: Any) -> None:
        add_discarded(harness, 1)
        assert run_purge(harness)["sink.dead_letter"] == 0
        age_dead_letters(harness, 91)
        assert run_purge(harness, "--dry-run")["sink.dead_letter"] == 1
        assert harness.dead_letters("status") == ["DISCARDED"]
        assert run_purge(harness)["sink.dead_letter"] == 1
        assert harness.dead_letters("status") == []

    def test_open_and_deferred_are_kept(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"), harness.event(2, district="Nowhere"))
        age_dead_letters(harness, 10_000)
        assert run_purge(harness)["sink.dead_letter"] == 0
        assert sorted(harness.dead_letters("status")) == ["OPEN", "PARKED"]

    def test_unpublished_dead_letter_is_kept(self, harness: Any) -> None:
        add_discarded(harness, 1)
        age_dead_letters(harness, 91)
        harness.admin.execute("UPDATE sink.dead_letter SET published_attempts = NULL")
        assert run_purge(harness)["sink.dead_letter"] == 0
        write_retention(publish=0)
        assert run_purge(harness)["sink.dead_letter"] == 1

    def test_zero_days_keep_dead_letters(self, harness: Any) -> None:
        add_discarded(harness, 1)
        age_dead_letters(harness, 10_000)
        write_retention("dead_letters_days = 0")
        assert "sink.dead_letter" not in run_purge(harness)
        assert harness.dead_letters("status") == ["DISCARDED"]

    def test_rows_are_deleted_in_several_transactions(
        self, harness: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(purge, "_DELETE", purge._DELETE.replace("5000", "3"))
        add_discarded(harness, 1)
        harness.multiply(10)
        harness.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")
        age_dead_letters(harness, 91)
        assert run_purge(harness)["sink.dead_letter"] == 11


class TestOtherTables:
    def test_tombstones_are_deleted_and_row_versions_kept(self, harness: Any) -> None:
        with harness.admin.cursor() as cursor:
            for name, day in (("old", 31), ("new", 29), ("row", None)):
                cursor.execute(VERSION, ("gone", name, day and NOW - timedelta(days=day)))
        assert run_purge(harness)["sink.row_version"] == 1
        kept = harness.admin.execute("SELECT key FROM sink.row_version ORDER BY key").fetchall()
        assert kept == [("new",), ("row",)]

    def test_resolved_conflicts_are_deleted_and_open_kept(self, harness: Any) -> None:
        for days, action in ((91, "merged"), (89, "merged"), (10_000, None), (9_999, REVIEW)):
            harness.admin.execute(CONFLICT, {"age": timedelta(days=days), "action": action})
        assert run_purge(harness, "--dry-run")["sink.conflict"] == 1
        assert run_purge(harness)["sink.conflict"] == 1
        kept = harness.admin.execute("SELECT resolution_notes FROM sink.conflict ORDER BY 1")
        assert [notes for (notes,) in kept] == ["10000 days", "89 days", "9999 days"]
        (allowed,) = harness.admin.execute(MAY_DELETE).fetchone()
        assert not allowed  # only the purge may delete from the history
        write_retention("conflicts_days = 0")
        assert "sink.conflict" not in run_purge(harness)

    def test_newest_control_requests_are_kept(self, harness: Any) -> None:
        """A runner would restart, or claim its partitions again, for another newest number."""
        for days, kind in ((1097, "replay"), (1096, "replay"), (1096, "reload"), (1, "reload")):
            harness.admin.execute(REQUEST, (kind, timedelta(days=days)))
        assert run_purge(harness, "--dry-run")["sink.control_request"] == 2
        assert run_purge(harness)["sink.control_request"] == 2
        kept = harness.admin.execute("SELECT kind FROM sink.control_request ORDER BY request")
        assert kept.fetchall() == [("replay",), ("reload",)]
        write_retention("audit_days = 0")
        assert "sink.control_request" not in run_purge(harness)

    def test_progress_of_yearly_schedule_is_kept(self, harness: Any) -> None:
        """Its last run is a year ago and the next one is two days overdue."""
        due = (NOW - timedelta(days=2)).replace(second=0, microsecond=0)
        yearly = f"{due.minute} {due.hour} {due.day} {due.month} *"
        harness.admin.execute(SCHEDULE, ("a", "full", yearly, due - timedelta(days=365)))
        harness.admin.execute(SCHEDULE, ("b", "full", yearly, due - timedelta(days=3 * 365)))
        harness.admin.execute(SCHEDULE, ("c", "full", "0 0 * * *", NOW - timedelta(days=92)))
        harness.admin.execute(SCHEDULE, ("d", "full", "0 0 * * *", NOW - timedelta(days=89)))
        assert run_purge(harness, "--dry-run")["sink.schedule"] == 2
        assert run_purge(harness)["sink.schedule"] == 2
        kept = harness.admin.execute("SELECT mapping FROM sink.schedule ORDER BY 1").fetchall()
        assert kept == [("a",), ("d",)]

    def test_declared_schedule_is_kept_after_long_pause(self, harness: Any) -> None:
        write_retention(more='[schedule.mappings.people]\nfull = ["0 0 * * *"]\n')
        harness.admin.execute(SCHEDULE, ("people", "full", "0 0 * * *", NOW - timedelta(days=900)))
        assert run_purge(harness)["sink.schedule"] == 0

    def test_idempotency_keys_are_deleted_by_api_settings(self, harness: Any) -> None:
        harness.admin.execute(
            "INSERT INTO sink.api_request (request, content, claimed_at) "
            "VALUES ('a', 'a', now() - interval '25 hours'), ('b', 'b', now())"
        )
        assert "sink.api_request" not in run_purge(harness)
        write_retention(
            more=f'[api]\ndatabase = "{harness.database}"\n'
            '[api.tables]\nforecasts = "a.b.c"\nalerts = "a.b.d"\n'
        )
        assert run_purge(harness)["sink.api_request"] == 1

    def test_audit_log_is_deleted_by_whole_months(self, harness: Any) -> None:
        harness.send(harness.event(1))
        limit = NOW - timedelta(days=1095)
        last = limit.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for moment in (datetime(2019, 1, 2), last - timedelta(seconds=1), last):  # noqa: DTZ001
            harness.admin.execute(
                """INSERT INTO sink.audit_log (event_type, "timestamp") VALUES ('sync', %s)""",
                (moment.replace(tzinfo=None),),
            )
        assert run_purge(harness, "--dry-run")["sink.audit_log"] == 2
        assert run_purge(harness)["sink.audit_log"] == 2
        oldest = harness.admin.execute('SELECT min("timestamp") FROM sink.audit_log').fetchone()
        assert oldest == (last.replace(tzinfo=None),)
        partition = harness.admin.execute("SELECT to_regclass('sink.audit_log_2019_01')").fetchone()
        assert partition == (None,)


class TestProcesses:
    def test_only_one_process_purges(self, harness: Any) -> None:
        with connect(harness.dsn, "t") as other:
            other.execute(purge._TRY_LOCK, (purge._LOCK,))
            code, _, err = harness.call("purge")
            assert (code, "another process is purging" in err) == (1, True)
            assert daily.purge_all(load(Path("sink-runner.toml")).config(), [])
        assert harness.call("purge")[0] == 0

    def test_runner_purges_in_background(
        self, harness: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(daily, "_FIRST_SECONDS", 0.01)
        add_discarded(harness, 1)
        age_dead_letters(harness, 91)
        with daily.purging(load(Path("sink-runner.toml")).config(), [harness.plugin]):
            eventually(lambda: harness.dead_letters("status") == [])

    def test_unreachable_database_does_not_stop_others(self, harness: Any) -> None:
        add_discarded(harness, 1)
        age_dead_letters(harness, 91)
        config = load(Path("sink-runner.toml")).config()
        (database,) = config.databases.values()
        unreachable = SimpleNamespace(dsn="host=127.0.0.1 port=1 connect_timeout=1")
        both = {"unreachable": unreachable, harness.database: database}
        with capture_logs() as logs:
            assert not daily.purge_all(config_with(config, both), [])
        assert [(one["event"], one["database"]) for one in logs] == [
            ("purge_failed", "unreachable"),
            ("rows_purged", harness.database),
        ]

    def test_background_purge_can_be_turned_off(self, harness: Any) -> None:
        write_retention("purge_hours = 0")
        with daily.purging(load(Path("sink-runner.toml")).config(), []):
            assert not [one for one in threading.enumerate() if one.name == "purge"]

    def test_unknown_database_is_named(self, harness: Any) -> None:
        code, _, err = harness.call("purge", "--database", harness.database + "x")
        assert (code, f"did you mean {harness.database!r}" in err) == (78, True)


def purge_now(harness: Any, connection: psycopg.Connection) -> None:
    config = load(Path("sink-runner.toml")).config()
    for _ in Purge(config, harness.database, [harness.plugin]).run(connection):
        pass


RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "mapping": st.sampled_from(["a", "b"]),
            "mode": st.sampled_from(["full", "changed", "2026-01-01/2026-01-02"]),
            "outcome": st.sampled_from(["running", "done", "done", "interrupted", "abandoned"]),
            "cluster": st.sampled_from(["x/1", "y/1"]),
            "age": st.integers(0, 400).map(lambda days: timedelta(days=days)),
            "place": st.integers(1, 5),
        }
    ),
    max_size=30,
)


@settings(
    max_examples=10,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(runs=RUNS, later=st.sampled_from([0, 99, 100]))
def test_purge_keeps_runs_that_are_read_later(
    harness: Any, runs: list[dict[str, Any]], later: int
) -> None:
    """Batch runs and the scheduler read the same before and after the purge.

    The last hundred runs are always kept; `later` newer runs displace the random ones.
    """
    harness.admin.execute("DELETE FROM sink.batch_run")
    for run in runs:
        harness.admin.execute(RUN, run)
    for cluster in ("x/1", "y/1"):
        values = {"mapping": "c", "mode": "range", "outcome": "done", "cluster": cluster}
        values |= {"age": timedelta(days=200), "place": 6}
        with harness.admin.cursor() as cursor:
            cursor.executemany(RUN, [values] * later)
    with connect(harness.dsn, "t") as connection:
        before = read_runs(harness, connection)
        purge_now(harness, connection)
        assert read_runs(harness, connection) == before


def read_runs(harness: Any, connection: psycopg.Connection) -> list[Any]:
    """Return everything that later runs and the scheduler read; change nothing."""
    found: list[Any] = []
    for name in ("a", "b"):
        store = RunStore(name, "t")
        with connection.transaction(force_rollback=True):
            found += [store.finished(connection), store.interrupted(connection)]
        for full in (True, False):
            found += read_states(
                [plan(harness, name, full=full)], {harness.database: harness.dsn}
            ).items()
    for cluster in ("x/1", "y/1"):
        found.append(sorted(RunStore("a", "t").log_places(cluster, connection)))
    return found


def plan(harness: Any, name: str, *, full: bool) -> Plan:
    return Plan(
        mapping=name,
        source="north.public.t",
        target=f"{harness.database}.public.t",
        cron=Cron("0 0 1 1 *"),
        full=full,
        expected=timedelta(hours=1),
        tolerated=0,
    )


def test_scheduler_continues_after_purge(harness: Any) -> None:
    schedule = plan(harness, "a", full=True)
    done = datetime(NOW.year, 1, 1, tzinfo=UTC)
    harness.admin.execute(SCHEDULE, ("a", "full", "0 0 1 1 *", done))
    with connect(harness.dsn, "t") as connection:
        purge_now(harness, connection)
    history = PostgresRunHistory({harness.database: harness.dsn})
    try:
        assert history.read([schedule], NOW) == {schedule: Progress(done_until=done)}
    finally:
        history.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"),
            st.integers(1, 3),
            st.sampled_from(["a", "b", "bad"]),
            st.sampled_from(["Kota", "Nowhere"]),
        ),
        st.tuples(st.sampled_from(["discard", "replay"]), st.integers(0, 3)),
        st.tuples(st.just("retry")),
        st.tuples(st.just("age"), st.sampled_from([1, 50, 100])),
        st.tuples(st.just("purge")),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_purges_between_steps_change_no_outcome(harness: Any, steps: list[Any]) -> None:
    """The steps end with the same rows and unsettled dead letters with and without the purges."""
    expected = outcome(harness, [step for step in steps if step[0] != "purge"])
    assert outcome(harness, steps) == expected


def outcome(harness: Any, steps: list[Any]) -> tuple[Any, Any]:
    """Take the steps from empty tables; return the target's rows and the unsettled dead letters."""
    harness.stop()
    harness.admin.execute("TRUNCATE sink.dead_letter, profile, sink.row_version")
    harness.start()
    with connect(harness.dsn, "t") as connection:
        for step in steps:
            take_step(harness, connection, *step)
    dead_letters = harness.admin.execute(
        "SELECT status, event_key_hash, attempts, error_class FROM sink.dead_letter "
        "WHERE status IN ('OPEN', 'PARKED') ORDER BY dlq_id"
    )
    return harness.rows(), dead_letters.fetchall()


def take_step(harness: Any, connection: psycopg.Connection, kind: str, *arguments: Any) -> None:
    match kind:
        case "send":
            identity, note, district = arguments
            harness.send(harness.event(identity, note, district=district))
        case "discard" | "replay":
            open_ids = harness.admin.execute(
                "SELECT dlq_id FROM sink.dead_letter WHERE status = 'OPEN' ORDER BY 1"
            ).fetchall()
            if arguments[0] < len(open_ids):
                reason = ["--reason", "test"] if kind == "discard" else []
                harness.dlq(kind, f"{harness.database}/{open_ids[arguments[0]][0]}", *reason)
        case "retry":
            harness.retry()
        case "age":
            age_dead_letters(harness, arguments[0])
            harness.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")
        case "purge":
            purge_now(harness, connection)


def write_retention(line: str = "", *, publish: float = 1, more: str = "") -> None:
    path = Path("sink-runner.toml")
    text = path.read_text().replace(
        "[dead_letters]\n", f"[dead_letters]\npublish_seconds = {publish}\n"
    )
    path.write_text(f"{text}\n[retention]\n{line}\n{more}")


def config_with(config: Any, databases: Any) -> Any:
    return SimpleNamespace(
        databases=databases,
        retention=config.retention,
        dead_letters=config.dead_letters,
        remember_deletes_days=config.remember_deletes_days,
        api=None,
        schedule=config.schedule,
    )
