"""Due times of cron expressions, and maintenance windows."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.model.timetable import Cron, Maintenance

FIRST_SUNDAY = Maintenance("0 2 * * SUN#1", timedelta(hours=2))
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(  # noqa: DTZ001
    lambda time: time.replace(tzinfo=UTC)
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_due_minute_is_latest_and_not_next():
    hourly = Cron("0 * * * *")
    assert hourly.latest(utc("2026-11-21 06:00")) == utc("2026-11-21 06:00")
    assert hourly.latest(utc("2026-11-21 05:59:59.999")) == utc("2026-11-21 05:00")
    assert hourly.after(utc("2026-11-21 06:00")) == utc("2026-11-21 07:00")


def test_expression_is_in_utc_for_any_time_zone():
    india = timezone(timedelta(hours=5, minutes=30))
    assert Cron("0 1 * * *").after(utc("2026-11-21 00:59").astimezone(india)) == utc(
        "2026-11-21 01:00"
    )


@given(TIMES, TIMES)
def test_between_returns_each_due_time_once(first, second):
    after = min(first, second)
    until = min(max(first, second), after + timedelta(days=9))
    times = list(Cron("30 */5 * * *").between(after, until))
    minute = after.replace(second=0, microsecond=0)
    every = (minute + timedelta(minutes=n) for n in range(9 * 24 * 60 + 1))
    assert times == [
        time for time in every if after < time <= until and time.minute == 30 and time.hour % 5 == 0
    ]


@pytest.mark.parametrize(
    "text", ["", "daily", "0 1 * *", "0 0 1 1 * *", "60 * * * *", "0 0 30 2 *"]
)
def test_invalid_or_impossible_expression_is_refused(text):
    with pytest.raises(ValueError, match="cron expression"):
        Cron(text)


@pytest.mark.parametrize(
    ("time", "end"),
    [
        ("2026-11-01 01:59:59", None),
        ("2026-11-01 02:00", "2026-11-01 04:00"),
        ("2026-11-01 03:59:59", "2026-11-01 04:00"),
        ("2026-11-01 04:00", None),
        ("2026-11-08 03:00", None),  # the second Sunday
        ("2026-12-06 03:00", "2026-12-06 04:00"),
    ],
)
def test_maintenance_is_first_sunday_from_two_to_four(time, end):
    assert FIRST_SUNDAY.end(utc(time)) == (utc(end) if end else None)
    assert FIRST_SUNDAY.shift(utc(time)) == utc(end or time)


@pytest.mark.parametrize(
    "maintenance", [Maintenance("", timedelta(hours=2)), Maintenance("* * * * *", timedelta())]
)
def test_maintenance_can_be_disabled(maintenance):
    assert maintenance.end(utc("2026-11-01 03:00")) is None
