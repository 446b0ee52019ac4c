"""When the DAGs run: the same times as `sink-runner schedule`, in the real Airflow's timetable."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sink_runner.model.timetable import Cron, Maintenance

pytestmark = pytest.mark.airflow

RULE = ("0 2 * * SUN#1", 7200)
CRONS = (
    "0 * * * *",
    "30 0 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "0 4 * * *",
    "*/17 1-4 * * *",
    "0 3 * * SUN",
)
START, END = datetime(2026, 10, 30, tzinfo=UTC), datetime(2027, 1, 5, tzinfo=UTC)
TIMES = """
import json
from datetime import datetime
from sink_times import Times

def all_of(cron):
    times, found = Times(cron, {rule!r}, {seconds}), []
    time = datetime.fromisoformat("{start}")
    while (time := times.after(time)) <= datetime.fromisoformat("{end}"):
        assert times.latest(time) == time
        assert times.latest(time.replace(second=59)) == time
        found.append(time.isoformat())
    return found

print(json.dumps({{cron: all_of(cron) for cron in {crons!r}}}))
"""


def test_times_are_those_of_sink_runner_own_scheduler(home):
    rule, seconds = RULE
    code = TIMES.format(rule=rule, seconds=seconds, start=START, end=END, crons=CRONS)
    reported = home.script(code).answer
    window = Maintenance(rule, timedelta(seconds=seconds))
    for cron in CRONS:
        moved = [window.shift(time) for time in Cron(cron).between(START, END)]
        wanted = [time.isoformat() for time in dict.fromkeys(moved) if time <= END]
        assert reported[cron] == wanted


NEXT = """
import json, sys
from datetime import UTC, datetime
import pendulum
import sink_timetable
from airflow.timetables.base import DataInterval, TimeRestriction

class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW

sink_timetable.datetime = Clock

def following(now, last, cron="0 * * * *", earliest=None):
    global NOW
    NOW = datetime.fromisoformat(now + "+00:00")
    table = sink_timetable.BatchTimetable(cron, "0 2 * * SUN#1", 7200)
    table = type(table).deserialize(table.serialize())
    last = last and DataInterval.exact(pendulum.parse(last))
    earliest = earliest and pendulum.parse(earliest)
    info = table.next_dagrun_info(
        last_automated_data_interval=last,
        restriction=TimeRestriction(earliest=earliest, latest=None, catchup=False),
    )
    return f"{info.run_after:%d %H:%M}"

print(json.dumps([following(*one) for one in QUESTIONS]))
"""
QUESTIONS = (
    # now, the last run, then what comes
    (("2026-11-21 06:30", None), "21 07:00"),
    (("2026-11-21 07:01", None), "21 07:00"),
    (("2026-11-21 06:30", "2026-11-21 06:00"), "21 07:00"),
    (("2026-11-21 11:20", "2026-11-21 06:00"), "21 11:00"),  # five were missed: one run
    (("2026-11-01 01:30", "2026-11-01 01:00"), "01 04:00"),  # the next is in maintenance
    (("2026-11-01 03:10", "2026-11-01 01:00"), "01 04:00"),
    (("2026-11-01 04:01", "2026-11-01 01:00"), "01 04:00"),
    (("2026-11-01 04:10", "2026-11-01 04:00"), "01 05:00"),
    (("2026-11-01 04:10", "2026-10-31 02:00", "0 2 * * *"), "01 04:00"),
    (("2026-11-21 06:30", None, "0 * * * *", "2026-11-25 09:30"), "25 10:00"),
)


def test_missed_times_are_one_run_after_maintenance(home):
    reported = home.script(
        f"QUESTIONS = {json.dumps([one for one, _ in QUESTIONS])}\n".replace("null", "None") + NEXT
    )
    assert reported.answer == [then for _, then in QUESTIONS]
