"""Flow 11: the portal counts the events of whole days, and a run replaces changed days."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from uuid import UUID

import psycopg
import pytest

from sink_runner.postgres import session

pytestmark = pytest.mark.postgres

RAVI, ASHA = UUID(int=1), UUID(int=2)
TODAY = datetime.now(UTC).date()
YESTERDAY, BEFORE = TODAY - timedelta(days=1), TODAY - timedelta(days=2)
ADD_CITIZEN = """
import psycopg
from sink_runner.plugin import hookimpl

@hookimpl
def sink_batch_committed():
    with psycopg.connect({dsn!r}, password={password!r}) as session:
        session.execute("INSERT INTO golden_records (jan_aadhaar, citizen_id) "
                        "VALUES ('010000000002', 'RJ02') ON CONFLICT DO NOTHING")
"""


@pytest.fixture(autouse=True)
def people(pair) -> None:
    """Ravi is known to the warehouse, Asha is not."""
    pair.citizen.execute(
        "INSERT INTO citizens (id, aadhaar_number, full_name, mobile_number) "
        "VALUES (%s, '010000000001', 'Ravi', '1'), (%s, '010000000002', 'Asha', '2')",
        (RAVI, ASHA),
    )
    add_golden_record(pair, "010000000001", "RJ01")


def add_golden_record(pair: Any, number: str, citizen: str) -> None:
    pair.warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES (%s, %s)", (number, citizen)
    )


def add_event(
    pair: Any,
    day: date = YESTERDAY,
    clock: str = "12:00",
    seconds: str | None = "1.500",
    *,
    kind: str = "PAGE_VIEW",
    citizen: UUID = RAVI,
) -> None:
    pair.citizen.execute(
        "INSERT INTO user_behavior_events "
        "(citizen_id, event_type, duration_seconds, properties, occurred_at) "
        """VALUES (%s, %s, %s, '{"query": "widow pension"}', %s)""",
        (citizen, kind, seconds, datetime.combine(day, time.fromisoformat(clock))),
    )


def run(pair: Any, **options: Any) -> Any:
    report = pair.run("user-behavior", **options)
    assert report.adds_up
    assert report.counts["failed"] == 0
    return report


def counts(pair: Any) -> list[Any]:
    """Return the counts by citizen, type and day."""
    query = (
        "SELECT citizen_id, event_type, event_date, event_count FROM analytics.user_behavior "
        "ORDER BY citizen_id, event_type, event_date"
    )
    return pair.warehouse.execute(query).fetchall()


def versions(pair: Any) -> list[Any]:
    query = "SELECT ctid::text, xmin::text FROM analytics.user_behavior ORDER BY 1"
    return pair.warehouse.execute(query).fetchall()


class TestCounting:
    def test_row_has_count_durations_and_times(self, pair) -> None:
        add_event(pair, clock="08:00:00.25", seconds="1.125")
        add_event(pair, clock="23:59:59.999999", seconds=None)
        add_event(pair, clock="00:00", seconds="2.250")
        run(pair)
        (row,) = pair.warehouse.execute("SELECT * FROM analytics.user_behavior").fetchall()
        first = datetime.combine(YESTERDAY, time.min)
        last = datetime.combine(YESTERDAY, time.max)
        assert row == ("RJ01", "PAGE_VIEW", YESTERDAY, 3, Decimal("3.375"), first, last)

    def test_missing_durations_add_up_to_zero(self, pair) -> None:
        add_event(pair, seconds=None)
        run(pair)
        query = "SELECT total_duration_seconds FROM analytics.user_behavior"
        assert pair.warehouse.execute(query).fetchall() == [(Decimal(0),)]

    def test_days_types_and_citizens_are_counted_separately(self, pair) -> None:
        add_golden_record(pair, "010000000002", "RJ02")
        add_event(pair, BEFORE, "23:59:59.999999")
        add_event(pair, YESTERDAY, "00:00")
        add_event(pair, kind="SEARCH_QUERY")
        add_event(pair, citizen=ASHA)
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 1),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", YESTERDAY, 1),
            ("RJ02", "PAGE_VIEW", YESTERDAY, 1),
        ]

    def test_day_is_utc_in_any_time_zone(self, pair) -> None:
        name = pair.names["smart_citizen"]
        pair.citizen.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'".encode())
        add_event(pair, BEFORE, "23:59")
        add_event(pair, YESTERDAY, "00:01")
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 1),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
        ]


class TestReplacing:
    def test_rerun_writes_nothing(self, pair) -> None:
        add_event(pair, BEFORE)
        add_event(pair)
        run(pair)
        before = versions(pair)
        for full in (True, False):
            assert run(pair, full=full).counts["written"] == 0
        assert versions(pair) == before

    def test_late_event_is_counted_in_its_own_day(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            add_event(pair, day)
        run(pair)
        add_event(pair, BEFORE)
        add_event(pair, BEFORE - timedelta(days=40), kind="SEARCH_QUERY")
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 2),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", BEFORE - timedelta(days=40), 1),
        ]

    def test_replaced_day_loses_deleted_events(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            add_event(pair, day)
            add_event(pair, day, kind="SEARCH_QUERY")
        run(pair)
        pair.citizen.execute("DELETE FROM user_behavior_events WHERE event_type = 'SEARCH_QUERY'")
        add_event(pair, BEFORE)
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 2),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", YESTERDAY, 1),
        ]

    def test_time_range_is_written_again(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            add_event(pair, day)
        run(pair)
        pair.warehouse.execute("UPDATE analytics.user_behavior SET event_count = 9")
        run(pair, since=datetime.combine(YESTERDAY, time(5)))
        assert [count for *_, count in counts(pair)] == [9, 1]

    def test_removed_count_is_restored_by_new_event(self, pair) -> None:
        """Also by a run without a log position, because an earlier transaction is still open."""
        add_event(pair)
        add_event(pair, kind="SEARCH_QUERY")
        run(pair)
        pair.citizen.execute("DELETE FROM user_behavior_events WHERE event_type = 'SEARCH_QUERY'")
        add_event(pair)
        run(pair)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", YESTERDAY, 2)]
        with psycopg.connect(pair.postgres.dsn(pair.names["smart_citizen"])) as slow:
            slow.execute("UPDATE citizens SET city = 'Bagru'")
            add_event(pair, kind="SEARCH_QUERY")
            run(pair)
        assert counts(pair)[1:] == [("RJ01", "SEARCH_QUERY", YESTERDAY, 1)]


class TestCurrentDay:
    @pytest.fixture(autouse=True)
    def same_day(self) -> None:
        if datetime.now(UTC).date() != TODAY:
            pytest.skip("the day changed during the tests")

    def test_current_and_future_days_are_not_counted(self, pair) -> None:
        add_event(pair, TODAY, "00:00")
        add_event(pair, TODAY + timedelta(days=1))
        run(pair)
        assert counts(pair) == []

    @pytest.mark.parametrize("events", [0, 1])
    def test_current_day_is_counted_by_later_run(self, pair, events: int) -> None:
        """The day is counted even if it has no new event since the run that skipped it."""
        add_event(pair, TODAY, "00:00")
        run(pair)
        for _ in range(events):
            add_event(pair, TODAY, "23:00")
        run_later(pair)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", TODAY, 1 + events)]

    def test_events_of_the_future_are_kept(self, pair) -> None:
        add_event(pair, TODAY + timedelta(days=1))
        run(pair)
        run_later(pair)
        assert counts(pair) == []
        run_later(pair, 2)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", TODAY + timedelta(days=1), 1)]


def run_later(pair: Any, days: int = 1) -> None:
    """Run with the database's clock advanced by this number of days."""
    pair.citizen.execute("CREATE SCHEMA IF NOT EXISTS clock")
    pair.citizen.execute("GRANT USAGE ON SCHEMA clock TO sink_reader")
    for function in ("now", "clock_timestamp"):
        pair.citizen.execute(
            f"CREATE OR REPLACE FUNCTION clock.{function}() RETURNS timestamptz LANGUAGE sql "
            f"RETURN pg_catalog.{function}() + interval '{days} days'".encode()
        )
    with patch.dict(session.SETTINGS, search_path="clock, pg_catalog, public"):
        run(pair)


class TestDeferredRows:
    def test_rows_wait_until_citizen_is_known(self, pair) -> None:
        add_event(pair, citizen=ASHA)
        add_event(pair)
        assert run(pair).counts["parked"] == 1
        assert counts(pair) == [("RJ01", "PAGE_VIEW", YESTERDAY, 1)]
        run(pair)
        add_golden_record(pair, "010000000002", "RJ02")
        assert run(pair).counts["replayed"] == 1
        assert counts(pair)[1:] == [("RJ02", "PAGE_VIEW", YESTERDAY, 1)]

    def test_later_of_two_deferred_rows_wins(self, pair) -> None:
        for _ in range(3):
            add_event(pair, citizen=ASHA)
            run(pair)
        add_golden_record(pair, "010000000002", "RJ02")
        run(pair)
        assert counts(pair) == [("RJ02", "PAGE_VIEW", YESTERDAY, 3)]

    def test_event_during_read_of_its_day_stays(self, pair, site) -> None:
        add_event(pair)
        add_event(pair, citizen=ASHA)
        info = pair.warehouse.info
        site.plugin("add_citizen", ADD_CITIZEN.format(dsn=info.dsn, password=info.password))
        report = pair.run("user-behavior", "add_citizen")
        assert (report.counts["replayed"], report.counts["removed"]) == (1, 0)
        assert [row[0] for row in counts(pair)] == ["RJ01", "RJ02"]

    def test_deferred_rows_do_not_expire(self, pair) -> None:
        add_event(pair, citizen=ASHA)
        run(pair)
        pair.warehouse.execute("UPDATE sink.dead_letter SET created_at = now() - interval '1 year'")
        run(pair)
        assert pair.warehouse.execute("SELECT status FROM sink.dead_letter").fetchall() == [
            ("PARKED",)
        ]
        add_golden_record(pair, "010000000002", "RJ02")
        run(pair)
        assert counts(pair) == [("RJ02", "PAGE_VIEW", YESTERDAY, 1)]

    def test_many_deferred_rows_are_written_in_order(self, pair) -> None:
        days = [YESTERDAY - timedelta(days=number) for number in range(600)]
        for _ in range(2):
            for day in days:
                add_event(pair, day, citizen=ASHA)
            assert run(pair, batch={"max_rows": 1_000}).counts["parked"] == len(days)
        add_golden_record(pair, "010000000002", "RJ02")
        run(pair)
        assert [count for *_, count in counts(pair)] == [2] * len(days)


def test_events_are_counted_in_the_source(pair) -> None:
    """One row is read for each ten of 50,000 events, in more than one batch."""
    pair.citizen.execute(
        "INSERT INTO citizens (aadhaar_number, full_name, mobile_number) "
        "SELECT '9' || lpad(n::text, 11, '0'), 'A', '1' FROM generate_series(1, 1000) n"
    )
    pair.warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) "
        "SELECT '9' || lpad(n::text, 11, '0'), 'RJ3' || n FROM generate_series(1, 1000) n"
    )
    pair.citizen.execute("SET session_replication_role = replica")  # no foreign key is checked
    pair.citizen.execute(
        "INSERT INTO user_behavior_events (citizen_id, event_type, duration_seconds, occurred_at) "
        "SELECT id, (ARRAY['PAGE_VIEW', 'SCHEME_CLICK', 'ELIGIBILITY_CHECK', 'SEARCH_QUERY', "
        "'DOCUMENT_UPLOAD'])[1 + n %% 5], 0.5, %s + n * interval '1 second' "
        "FROM citizens, generate_series(0, 49) n WHERE full_name = 'A'",
        (datetime.combine(YESTERDAY, time.min),),
    )
    report = run(pair, batch={"max_rows": 500})
    assert report.counts["read"] == report.counts["written"] == 5_000
    assert {count for *_, count in counts(pair)} == {10}
