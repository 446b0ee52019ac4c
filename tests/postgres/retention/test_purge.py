"""What is past its retention goes, and nothing that the sink reads later."""

import threading
import time
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
VERSION = "INSERT INTO sink.row_version (mapping, key, position, deleted_at) VALUES (%s, %s, 1, %s)"


def purged(office: Any, *arguments: str) -> dict[str, int]:
    """Run the command; return how many rows each table lost."""
    code, out, err = office.call("purge", *arguments)
    assert (code, err) == (0, "")
    found = {}
    for line in out.splitlines():
        database, table, told = line.split(": ")
        assert database == office.database
        found[table] = int(told.split()[0])
    return found


def age_dead_letters(office: Any, days: int) -> None:
    office.admin.execute(
        "UPDATE sink.dead_letter SET settled_at = settled_at - %(age)s, "
        "created_at = created_at - %(age)s",
        {"age": timedelta(days=days)},
    )


def settle(office: Any, identity: int) -> None:
    """Let there be one discarded dead letter."""
    office.send(office.event(identity, "bad"))
    office.dlq("discard", office.id(-1), "--reason", "test")
    office.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")


class TestDeadLetters:
    def test_settled_ones_go_after_their_days(self, office: Any) -> None:
        settle(office, 1)
        assert purged(office)["sink.dead_letter"] == 0
        age_dead_letters(office, 91)
        assert purged(office, "--dry-run")["sink.dead_letter"] == 1
        assert office.dead_letters("status") == ["DISCARDED"]
        assert purged(office)["sink.dead_letter"] == 1
        assert office.dead_letters("status") == []

    def test_open_and_deferred_ones_stay(self, office: Any) -> None:
        office.send(office.event(1, "bad"), office.event(2, district="Nowhere"))
        age_dead_letters(office, 10_000)
        assert purged(office)["sink.dead_letter"] == 0
        assert sorted(office.dead_letters("status")) == ["OPEN", "PARKED"]

    def test_dead_letter_stays_until_its_topic_is_told(self, office: Any) -> None:
        settle(office, 1)
        age_dead_letters(office, 91)
        office.admin.execute("UPDATE sink.dead_letter SET published_attempts = NULL")
        assert purged(office)["sink.dead_letter"] == 0
        write_retention(publish=0)
        assert purged(office)["sink.dead_letter"] == 1

    def test_zero_days_keep_them(self, office: Any) -> None:
        settle(office, 1)
        age_dead_letters(office, 10_000)
        write_retention("dead_letters_days = 0")
        assert "sink.dead_letter" not in purged(office)
        assert office.dead_letters("status") == ["DISCARDED"]

    def test_more_rows_than_one_transaction_go(
        self, office: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(purge, "_DELETE", purge._DELETE.replace("5000", "3"))
        settle(office, 1)
        office.multiply(10)
        office.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")
        age_dead_letters(office, 91)
        assert purged(office)["sink.dead_letter"] == 11


class TestOtherTables:
    def test_tombstones_go_and_versions_of_rows_stay(self, office: Any) -> None:
        with office.admin.cursor() as cursor:
            for name, day in (("old", 31), ("new", 29), ("row", None)):
                cursor.execute(VERSION, ("gone", name, day and NOW - timedelta(days=day)))
        assert purged(office)["sink.row_version"] == 1
        kept = office.admin.execute("SELECT key FROM sink.row_version ORDER BY key").fetchall()
        assert kept == [("new",), ("row",)]

    def test_resolved_conflicts_go_and_open_ones_stay(self, office: Any) -> None:
        for days, action in ((91, "merged"), (89, "merged"), (10_000, None), (9_999, REVIEW)):
            office.admin.execute(CONFLICT, {"age": timedelta(days=days), "action": action})
        assert purged(office, "--dry-run")["sink.conflict"] == 1
        assert purged(office)["sink.conflict"] == 1
        kept = office.admin.execute("SELECT resolution_notes FROM sink.conflict ORDER BY 1")
        assert [notes for (notes,) in kept] == ["10000 days", "89 days", "9999 days"]
        (allowed,) = office.admin.execute(MAY_DELETE).fetchone()
        assert not allowed  # the history is append-only but for the purge
        write_retention("conflicts_days = 0")
        assert "sink.conflict" not in purged(office)

    def test_yearly_schedule_survives(self, office: Any) -> None:
        """A first time of it that nobody dealt with lies just behind, its last one a year ago."""
        due = (NOW - timedelta(days=2)).replace(second=0, microsecond=0)
        yearly = f"{due.minute} {due.hour} {due.day} {due.month} *"
        office.admin.execute(SCHEDULE, ("a", "full", yearly, due - timedelta(days=365)))
        office.admin.execute(SCHEDULE, ("b", "full", yearly, due - timedelta(days=3 * 365)))
        office.admin.execute(SCHEDULE, ("c", "full", "0 0 * * *", NOW - timedelta(days=92)))
        office.admin.execute(SCHEDULE, ("d", "full", "0 0 * * *", NOW - timedelta(days=89)))
        assert purged(office, "--dry-run")["sink.schedule"] == 2
        assert purged(office)["sink.schedule"] == 2
        kept = office.admin.execute("SELECT mapping FROM sink.schedule ORDER BY 1").fetchall()
        assert kept == [("a",), ("d",)]

    def test_declared_schedule_survives_a_long_pause(self, office: Any) -> None:
        write_retention(more='[schedule.mappings.people]\nfull = ["0 0 * * *"]\n')
        office.admin.execute(SCHEDULE, ("people", "full", "0 0 * * *", NOW - timedelta(days=900)))
        assert purged(office)["sink.schedule"] == 0

    def test_idempotency_keys_go_by_settings_of_api(self, office: Any) -> None:
        office.admin.execute(
            "INSERT INTO sink.api_request (request, content, claimed_at) "
            "VALUES ('a', 'a', now() - interval '25 hours'), ('b', 'b', now())"
        )
        assert "sink.api_request" not in purged(office)
        write_retention(
            more=f'[api]\ndatabase = "{office.database}"\n'
            '[api.tables]\nforecasts = "a.b.c"\nalerts = "a.b.d"\n'
        )
        assert purged(office)["sink.api_request"] == 1

    def test_audit_log_goes_by_whole_months(self, office: Any) -> None:
        office.send(office.event(1))
        kept = NOW - timedelta(days=1095)
        last = kept.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for moment in (datetime(2019, 1, 2), last - timedelta(seconds=1), last):  # noqa: DTZ001
            office.admin.execute(
                """INSERT INTO sink.audit_log (event_type, "timestamp") VALUES ('sync', %s)""",
                (moment.replace(tzinfo=None),),
            )
        assert purged(office, "--dry-run")["sink.audit_log"] == 2
        assert purged(office)["sink.audit_log"] == 2
        left = office.admin.execute('SELECT min("timestamp") FROM sink.audit_log').fetchone()
        assert left == (last.replace(tzinfo=None),)
        parts = office.admin.execute("SELECT to_regclass('sink.audit_log_2019_01')").fetchone()
        assert parts == (None,)


class TestProcesses:
    def test_one_process_purges_at_a_time(self, office: Any) -> None:
        with connect(office.dsn, "t") as other:
            other.execute(purge._TRY_LOCK, (purge._LOCK,))
            code, _, err = office.call("purge")
            assert (code, "another process is purging" in err) == (1, True)
            assert daily.purge_all(load(Path("sink-runner.toml")).config(), [])
        assert office.call("purge")[0] == 0

    def test_runner_purges_meanwhile(self, office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(daily, "_FIRST_SECONDS", 0.01)
        settle(office, 1)
        age_dead_letters(office, 91)
        with daily.purging(load(Path("sink-runner.toml")).config(), [office.plugin]):
            until(lambda: office.dead_letters("status") == [])

    def test_database_that_does_not_answer_keeps_no_other(self, office: Any) -> None:
        settle(office, 1)
        age_dead_letters(office, 91)
        config = load(Path("sink-runner.toml")).config()
        (database,) = config.databases.values()
        gone = SimpleNamespace(dsn="host=127.0.0.1 port=1 connect_timeout=1")
        both = {"gone": gone, office.database: database}
        with capture_logs() as logs:
            assert not daily.purge_all(replaced(config, both), [])
        assert [(one["event"], one["database"]) for one in logs] == [
            ("purge_failed", "gone"),
            ("rows_purged", office.database),
        ]

    def test_it_can_be_turned_off(self, office: Any) -> None:
        write_retention("purge_hours = 0")
        with daily.purging(load(Path("sink-runner.toml")).config(), []):
            assert not [one for one in threading.enumerate() if one.name == "purge"]

    def test_unknown_database_is_named(self, office: Any) -> None:
        code, _, err = office.call("purge", "--database", office.database + "x")
        assert (code, f"did you mean {office.database!r}" in err) == (78, True)


def purge_now(office: Any, connection: psycopg.Connection) -> None:
    config = load(Path("sink-runner.toml")).config()
    for _ in Purge(config, office.database, [office.plugin]).run(connection):
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
def test_purged_runs_change_nothing_for_later_ones(
    office: Any, runs: list[dict[str, Any]], later: int
) -> None:
    """A batch run, the scheduler and its listing read the same as before.

    `later` runs of another mapping keep older ones out of the hundred that are kept anyway.
    """
    office.admin.execute("DELETE FROM sink.batch_run")
    for run in runs:
        office.admin.execute(RUN, run)
    for cluster in ("x/1", "y/1"):
        values = {"mapping": "c", "mode": "range", "outcome": "done", "cluster": cluster}
        values |= {"age": timedelta(days=200), "place": 6}
        with office.admin.cursor() as cursor:
            cursor.executemany(RUN, [values] * later)
    with connect(office.dsn, "t") as connection:
        before = read_runs(office, connection)
        purge_now(office, connection)
        assert read_runs(office, connection) == before


def read_runs(office: Any, connection: psycopg.Connection) -> list[Any]:
    """Return all that later runs and the scheduler look up, without changing it."""
    found: list[Any] = []
    for name in ("a", "b"):
        store = RunStore(name, "t")
        with connection.transaction(force_rollback=True):
            found += [store.finished(connection), store.interrupted(connection)]
        for full in (True, False):
            found += read_states(
                [plan(office, name, full=full)], {office.database: office.dsn}
            ).items()
    for cluster in ("x/1", "y/1"):
        found.append(sorted(RunStore("a", "t").log_places(cluster, connection)))
    return found


def plan(office: Any, name: str, *, full: bool) -> Plan:
    return Plan(
        mapping=name,
        source="north.public.t",
        target=f"{office.database}.public.t",
        cron=Cron("0 0 1 1 *"),
        full=full,
        expected=timedelta(hours=1),
        tolerated=0,
    )


def test_scheduler_goes_on_where_it_was(office: Any) -> None:
    """The progress of a schedule that is read is the same after a purge."""
    known = plan(office, "a", full=True)
    done = datetime(NOW.year, 1, 1, tzinfo=UTC)
    office.admin.execute(SCHEDULE, ("a", "full", "0 0 1 1 *", done))
    with connect(office.dsn, "t") as connection:
        purge_now(office, connection)
    history = PostgresRunHistory({office.database: office.dsn})
    try:
        assert history.read([known], NOW) == {known: Progress(done_until=done)}
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
def test_purging_at_any_time_changes_nothing(office: Any, steps: list[Any]) -> None:
    """The same steps, once without the purges: rows and unsettled dead letters are the same."""
    plain = outcome(office, [step for step in steps if step[0] != "purge"])
    assert outcome(office, steps) == plain


def outcome(office: Any, steps: list[Any]) -> tuple[Any, Any]:
    """Begin anew, take the steps, and return the target's rows and the dead letters that count."""
    office.stop()
    office.admin.execute("TRUNCATE sink.dead_letter, profile, sink.row_version")
    office.start()
    with connect(office.dsn, "t") as connection:
        for step in steps:
            take(office, connection, *step)
    dead_letters = office.admin.execute(
        "SELECT status, event_key_hash, attempts, error_class FROM sink.dead_letter "
        "WHERE status IN ('OPEN', 'PARKED') ORDER BY dlq_id"
    )
    return office.rows(), dead_letters.fetchall()


def take(office: Any, connection: psycopg.Connection, kind: str, *given: Any) -> None:
    match kind:
        case "send":
            identity, note, district = given
            office.send(office.event(identity, note, district=district))
        case "discard" | "replay":
            open_ = office.admin.execute(
                "SELECT dlq_id FROM sink.dead_letter WHERE status = 'OPEN' ORDER BY 1"
            ).fetchall()
            if given[0] < len(open_):
                reason = ["--reason", "test"] if kind == "discard" else []
                office.dlq(kind, f"{office.database}/{open_[given[0]][0]}", *reason)
        case "retry":
            office.retry()
        case "age":
            age_dead_letters(office, given[0])
            office.admin.execute("UPDATE sink.dead_letter SET published_attempts = attempts")
        case "purge":
            purge_now(office, connection)


def write_retention(line: str = "", *, publish: float = 1, more: str = "") -> None:
    """Add settings to the configuration."""
    path = Path("sink-runner.toml")
    text = path.read_text().replace(
        "[dead_letters]\n", f"[dead_letters]\npublish_seconds = {publish}\n"
    )
    path.write_text(f"{text}\n[retention]\n{line}\n{more}")


def replaced(config: Any, databases: Any) -> Any:
    return SimpleNamespace(
        databases=databases,
        retention=config.retention,
        dead_letters=config.dead_letters,
        remember_deletes_days=config.remember_deletes_days,
        api=None,
        schedule=config.schedule,
    )


def until(reached: Any) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
