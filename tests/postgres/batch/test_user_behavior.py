"""Flow 11 as it runs: whole days, counted in the portal, each replaced and never added to."""

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
REGISTRAR = """
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
    knows(pair, "010000000001", "RJ01")


def knows(pair: Any, number: str, citizen: str) -> None:
    pair.warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES (%s, %s)", (number, citizen)
    )


def does(
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


def run(pair: Any, **asked: Any) -> Any:
    report = pair.run("user-behavior", **asked)
    assert report.adds_up
    assert report.counts["failed"] == 0
    return report


def counts(pair: Any) -> list[Any]:
    """By citizen, type and day; the day as one of those above."""
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
        does(pair, clock="08:00:00.25", seconds="1.125")
        does(pair, clock="23:59:59.999999", seconds=None)
        does(pair, clock="00:00", seconds="2.250")
        run(pair)
        (row,) = pair.warehouse.execute("SELECT * FROM analytics.user_behavior").fetchall()
        first = datetime.combine(YESTERDAY, time.min)
        last = datetime.combine(YESTERDAY, time.max)
        assert row == ("RJ01", "PAGE_VIEW", YESTERDAY, 3, Decimal("3.375"), first, last)

    def test_no_duration_at_all_is_none(self, pair) -> None:
        does(pair, seconds=None)
        run(pair)
        query = "SELECT total_duration_seconds FROM analytics.user_behavior"
        assert pair.warehouse.execute(query).fetchall() == [(Decimal(0),)]

    def test_days_types_and_citizens_are_apart(self, pair) -> None:
        knows(pair, "010000000002", "RJ02")
        does(pair, BEFORE, "23:59:59.999999")
        does(pair, YESTERDAY, "00:00")
        does(pair, kind="SEARCH_QUERY")
        does(pair, citizen=ASHA)
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 1),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", YESTERDAY, 1),
            ("RJ02", "PAGE_VIEW", YESTERDAY, 1),
        ]

    def test_a_day_is_utc_wherever_the_database_is(self, pair) -> None:
        name = pair.names["smart_citizen"]
        pair.citizen.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'".encode())
        does(pair, BEFORE, "23:59")
        does(pair, YESTERDAY, "00:01")
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 1),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
        ]


class TestReplacing:
    def test_a_rerun_writes_nothing(self, pair) -> None:
        does(pair, BEFORE)
        does(pair)
        run(pair)
        before = versions(pair)
        for full in (True, False):
            assert run(pair, full=full).counts["written"] == 0
        assert versions(pair) == before

    def test_late_event_is_counted_in_its_own_day(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            does(pair, day)
        run(pair)
        does(pair, BEFORE)
        does(pair, BEFORE - timedelta(days=40), kind="SEARCH_QUERY")
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 2),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", BEFORE - timedelta(days=40), 1),
        ]

    def test_replaced_day_loses_what_it_no_longer_has(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            does(pair, day)
            does(pair, day, kind="SEARCH_QUERY")
        run(pair)
        pair.citizen.execute("DELETE FROM user_behavior_events WHERE event_type = 'SEARCH_QUERY'")
        does(pair, BEFORE)
        run(pair)
        assert counts(pair) == [
            ("RJ01", "PAGE_VIEW", BEFORE, 2),
            ("RJ01", "PAGE_VIEW", YESTERDAY, 1),
            ("RJ01", "SEARCH_QUERY", YESTERDAY, 1),
        ]

    def test_a_time_can_be_brought_anew(self, pair) -> None:
        for day in (BEFORE, YESTERDAY):
            does(pair, day)
        run(pair)
        pair.warehouse.execute("UPDATE analytics.user_behavior SET event_count = 9")
        run(pair, since=datetime.combine(YESTERDAY, time(5)))
        assert [count for *_, count in counts(pair)] == [9, 1]

    def test_what_was_taken_out_comes_back(self, pair) -> None:
        """Also by a run that can't tell its place in the log, as something of before goes on."""
        does(pair)
        does(pair, kind="SEARCH_QUERY")
        run(pair)
        pair.citizen.execute("DELETE FROM user_behavior_events WHERE event_type = 'SEARCH_QUERY'")
        does(pair)
        run(pair)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", YESTERDAY, 2)]
        with psycopg.connect(pair.postgres.dsn(pair.names["smart_citizen"])) as slow:
            slow.execute("UPDATE citizens SET city = 'Bagru'")
            does(pair, kind="SEARCH_QUERY")
            run(pair)
        assert counts(pair)[1:] == [("RJ01", "SEARCH_QUERY", YESTERDAY, 1)]


class TestRunningDay:
    @pytest.fixture(autouse=True)
    def same_day(self) -> None:
        if datetime.now(UTC).date() != TODAY:
            pytest.skip("midnight went by")

    def test_it_is_left_to_the_next_run(self, pair) -> None:
        does(pair, TODAY, "00:00")
        does(pair, TODAY + timedelta(days=1))
        run(pair)
        assert counts(pair) == []

    @pytest.mark.parametrize("events", [0, 1])
    def test_what_came_before_the_run_is_not_lost(self, pair, events: int) -> None:
        """Nothing of the day may be new since the run that left it alone; it comes all the same."""
        does(pair, TODAY, "00:00")
        run(pair)
        for _ in range(events):
            does(pair, TODAY, "23:00")
        tomorrow(pair)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", TODAY, 1 + events)]

    def test_events_of_the_future_are_kept(self, pair) -> None:
        does(pair, TODAY + timedelta(days=1))
        run(pair)
        tomorrow(pair)
        assert counts(pair) == []
        tomorrow(pair, 2)
        assert counts(pair) == [("RJ01", "PAGE_VIEW", TODAY + timedelta(days=1), 1)]


def tomorrow(pair: Any, days: int = 1) -> None:
    """Run so many days later: the query and the snapshot take the time from the database."""
    pair.citizen.execute("CREATE SCHEMA IF NOT EXISTS clock")
    pair.citizen.execute("GRANT USAGE ON SCHEMA clock TO sink_reader")
    for function in ("now", "clock_timestamp"):
        pair.citizen.execute(
            f"CREATE OR REPLACE FUNCTION clock.{function}() RETURNS timestamptz LANGUAGE sql "
            f"RETURN pg_catalog.{function}() + interval '{days} days'".encode()
        )
    with patch.dict(session.SETTINGS, search_path="clock, pg_catalog, public"):
        run(pair)


class TestWaiting:
    def test_citizen_rows_wait_until_id_exists(self, pair) -> None:
        does(pair, citizen=ASHA)
        does(pair)
        assert run(pair).counts["parked"] == 1
        assert counts(pair) == [("RJ01", "PAGE_VIEW", YESTERDAY, 1)]
        run(pair)
        knows(pair, "010000000002", "RJ02")
        assert run(pair).counts["replayed"] == 1
        assert counts(pair)[1:] == [("RJ02", "PAGE_VIEW", YESTERDAY, 1)]

    def test_later_of_two_deferred_rows_wins(self, pair) -> None:
        for _ in range(3):
            does(pair, citizen=ASHA)
            run(pair)
        knows(pair, "010000000002", "RJ02")
        run(pair)
        assert counts(pair) == [("RJ02", "PAGE_VIEW", YESTERDAY, 3)]

    def test_event_during_read_of_its_day_stays(self, pair, site) -> None:
        does(pair)
        does(pair, citizen=ASHA)
        info = pair.warehouse.info
        site.plugin("registrar", REGISTRAR.format(dsn=info.dsn, password=info.password))
        report = pair.run("user-behavior", "registrar")
        assert (report.counts["replayed"], report.counts["removed"]) == (1, 0)
        assert [row[0] for row in counts(pair)] == ["RJ01", "RJ02"]

    def test_they_wait_for_as_long_as_it_takes(self, pair) -> None:
        does(pair, citizen=ASHA)
        run(pair)
        pair.warehouse.execute("UPDATE sink.dead_letter SET created_at = now() - interval '1 year'")
        run(pair)
        assert pair.warehouse.execute("SELECT status FROM sink.dead_letter").fetchall() == [
            ("PARKED",)
        ]
        knows(pair, "010000000002", "RJ02")
        run(pair)
        assert counts(pair) == [("RJ02", "PAGE_VIEW", YESTERDAY, 1)]

    def test_many_that_waited_are_written_in_order(self, pair) -> None:
        days = [YESTERDAY - timedelta(days=number) for number in range(600)]
        for _ in range(2):
            for day in days:
                does(pair, day, citizen=ASHA)
            assert run(pair, batch={"max_rows": 1_000}).counts["parked"] == len(days)
        knows(pair, "010000000002", "RJ02")
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
