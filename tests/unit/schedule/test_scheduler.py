"""The scheduler, with a clock and batches that the tests move on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sink_runner.config.sections import MappingSchedule, Scheduling
from sink_runner.model.timetable import Cron
from sink_runner.plugin import Column, Schedule, TableMapping, source_wins
from sink_runner.schedule.plans import Outcome, Plan, Progress, next_start, plans_of
from sink_runner.schedule.scheduler import Scheduler

MINUTE = timedelta(minutes=1)
USUAL = Scheduling()
NEVER = Scheduling(maintenance="")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan(cron: str = "0 * * * *", name: str = "apples", target: str = "", **more) -> Plan:
    more = {"full": False, "expected": timedelta(minutes=30), "tolerated": 0} | more
    target = target or f"south.public.{name}"
    return Plan(mapping=name, source="north.public.t", target=target, cron=Cron(cron), **more)


@dataclass
class Memory:
    """A run history that outlives its schedulers, and can be unavailable."""

    kept: dict[Plan, Progress] = field(default_factory=dict)
    away: bool = False

    def read(self, plans: Sequence[Plan], now: datetime) -> dict[Plan, Progress]:
        if self.away:
            return {}
        for one in plans:
            self.kept.setdefault(one, Progress(done_until=now))
        return {one: self.kept[one] for one in plans}

    def write(self, plan: Plan, progress: Progress) -> bool:
        if not self.away:
            self.kept[plan] = progress
        return not self.away


@dataclass(eq=False)
class Batch:
    plan: Plan
    began: datetime
    ends: datetime
    code: int
    clock: "World"
    asked: bool = False

    def poll(self) -> int | None:
        if self.asked:
            return 143
        return self.code if self.clock.now >= self.ends else None

    def terminate(self) -> None:
        self.asked = True

    kill = terminate


class World:
    """The clock, and what was started when."""

    def __init__(self, now: str | datetime, *plans: Plan, rules: Scheduling = USUAL) -> None:
        self.now = utc(now) if isinstance(now, str) else now
        self.history = Memory()
        self.takes: dict[str, timedelta] = {}
        self.codes: dict[str, list[int]] = {}
        self.batches: list[Batch] = []
        self.plans = plans
        self.rules = rules
        self.restart()

    def restart(self) -> None:
        """The scheduler is another process from here on."""
        self.scheduler = Scheduler(self.plans, self.rules, self.history, self._start)

    def _start(self, plan: Plan) -> Batch:
        codes = self.codes.get(plan.mapping)
        takes = self.takes.get(plan.mapping, timedelta(seconds=20))
        code = codes.pop(0) if codes else 0
        self.batches.append(Batch(plan, self.now, self.now + takes, code, self))
        return self.batches[-1]

    def run(self, until: str | datetime, step: timedelta = MINUTE) -> list[str]:
        """Look every minute; return when something started, as HH:MM."""
        end = utc(until) if isinstance(until, str) else until
        before = len(self.batches)
        while self.now <= end:
            self.scheduler.tick(self.now)
            self.now += step
        return [f"{batch.began:%H:%M}" for batch in self.batches[before:]]


# -- what is run when --------------------------------------------------------------------------


def test_each_due_time_runs_once():
    world = World("2026-11-21 06:30", plan())
    assert world.run("2026-11-21 09:30") == ["07:00", "08:00", "09:00"]


def test_missed_times_are_one_run():
    world = World("2026-11-21 06:30", plan())
    world.run("2026-11-21 07:10")
    world.now = utc("2026-11-21 11:20")
    world.restart()
    with capture_logs() as told:
        assert world.run("2026-11-21 12:30") == ["11:20", "12:00"]
    assert {"event": "batch_started", "due": "2026-11-21T11:00+00:00", "caught_up": 3}.items() <= (
        next(line for line in told if line["event"] == "batch_started").items()
    )


def test_times_in_maintenance_run_once_after():
    world = World("2026-11-01 00:30", plan(), plan("30 2 * * *", "pears"))
    world.run("2026-11-01 05:30")
    starts = [(f"{batch.began:%H:%M}", batch.plan.mapping) for batch in world.batches]
    assert sorted(starts) == [
        ("01:00", "apples"),
        ("04:00", "apples"),
        ("04:00", "pears"),
        ("05:00", "apples"),
    ]


def test_a_start_after_maintenance_is_not_late():
    world = World("2026-11-01 00:30", plan("30 2 * * *"))
    with capture_logs() as told:
        assert world.run("2026-11-01 05:30") == ["04:00"]
    assert not [line for line in told if line["event"] == "batch_late"]


def test_retry_waits_for_end_of_maintenance():
    world = World("2026-11-01 01:30", plan("50 1 * * *"))
    world.takes["apples"] = timedelta(minutes=15)
    world.codes["apples"] = [1]
    assert world.run("2026-11-01 04:30") == ["01:50", "04:00"]


SCHEDULES = st.lists(
    st.sampled_from(
        ["0 0 * * *", "0 * * * *", "30 0 * * *", "0 2 * * *", "*/7 1-4 * * *", "0 3 * * SUN"]
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])
@given(st.integers(2020, 2035), st.integers(1, 12), SCHEDULES)
def test_each_time_of_any_month_runs_once(year, month, crons):
    """Those that maintenance covers are run once together when it is over."""
    start = datetime(year, month, 1, tzinfo=UTC) - 30 * MINUTE
    end = start + timedelta(days=31)
    plans = [plan(cron, f"m{n}") for n, cron in enumerate(crons)]
    rules = Scheduling(at_once=9)
    world = World(start, *plans, rules=rules)
    while world.now <= end:
        world.scheduler.tick(world.now)
        # By the minute where the expressions are fine, else a look at each time and one after it.
        world.now += MINUTE if world.now.hour < 5 or world.now.minute % 30 == 0 else 29 * MINUTE
    for one in plans:
        times = [rules.window.shift(time) for time in one.cron.between(start, end)]
        starts = [batch.began for batch in world.batches if batch.plan == one]
        assert starts == list(dict.fromkeys(times))
        assert not any(rules.window.end(time) for time in starts)


# -- one for a target --------------------------------------------------------------------------


def test_schedules_of_one_target_run_in_turn():
    hourly, daily = plan(), plan("0 7 * * *", full=True)
    world = World("2026-11-21 06:30", hourly, daily)
    world.takes["apples"] = timedelta(minutes=4)
    assert world.run("2026-11-21 07:30") == ["07:00", "07:04"]
    assert [batch.plan.full for batch in world.batches] == [False, True]


def test_other_targets_wait_only_for_the_limit():
    plans = [plan(name=name) for name in ("a", "b", "c")]
    world = World("2026-11-21 06:30", *plans, rules=Scheduling(at_once=2))
    world.takes = dict.fromkeys("abc", timedelta(minutes=3))
    assert world.run("2026-11-21 07:30") == ["07:00", "07:00", "07:03"]


def test_overlong_run_is_followed_by_one():
    world = World("2026-11-21 06:30", plan("*/10 * * * *"), rules=NEVER)
    world.takes["apples"] = timedelta(minutes=35)
    assert world.run("2026-11-21 07:20") == ["06:40", "07:15"]


# -- failures ----------------------------------------------------------------------------------


def test_failed_run_is_retried_three_times():
    world = World("2026-11-21 06:30", plan("0 7 * * *"))
    world.codes["apples"] = [1, 1, 1, 1, 1]
    with capture_logs() as told:
        assert world.run("2026-11-21 09:00") == ["07:00", "07:06", "07:12", "07:18"]
    failed = [line for line in told if line["event"] == "batch_failed"]
    assert [line["gave_up"] for line in failed] == [False, False, False, True]
    assert [line["attempt"] for line in failed] == [1, 2, 3, 4]


def test_a_retry_that_succeeds_ends_the_matter():
    world = World("2026-11-21 06:30", plan())
    world.codes["apples"] = [1, 1]
    assert world.run("2026-11-21 08:30") == ["07:00", "07:06", "07:12", "08:00"]
    assert world.history.kept[world.plans[0]].outcome is Outcome.OK


def test_retries_are_counted_anew_for_the_next_time():
    world = World("2026-11-21 06:30", plan("*/15 * * * *"))
    world.codes["apples"] = [1] * 9
    assert world.run("2026-11-21 07:14") == ["06:45", "06:51", "06:57", "07:00", "07:06", "07:12"]


def test_what_person_must_mend_is_not_tried_again():
    world = World("2026-11-21 06:30", plan("0 7 * * *"))
    world.codes["apples"] = [78]
    assert world.run("2026-11-21 09:00") == ["07:00"]


def test_failure_of_one_mapping_is_no_other():
    world = World("2026-11-21 06:30", plan(), plan(name="pears"))
    world.codes["apples"] = [1] * 4
    world.run("2026-11-21 07:30")
    pears = [batch for batch in world.batches if batch.plan.mapping == "pears"]
    assert len(pears) == 1


def test_the_count_of_retries_survives_a_restart():
    world = World("2026-11-21 06:30", plan("0 7 * * *"))
    world.codes["apples"] = [1] * 9
    world.run("2026-11-21 07:08")
    world.restart()
    assert world.run("2026-11-21 09:00") == ["07:12", "07:18"]


# -- stops and crashes -------------------------------------------------------------------------


def test_interrupted_run_restarts_without_counting():
    world = World("2026-11-21 06:30", plan("0 7 * * *"))
    world.takes["apples"] = timedelta(minutes=30)
    world.run("2026-11-21 07:05")
    world.scheduler.stop()
    world.scheduler.tick(world.now)
    assert not world.scheduler.busy
    kept = world.history.kept[world.plans[0]]
    assert (kept.outcome, kept.failures) == (Outcome.INTERRUPTED, 0)
    world.restart()
    assert world.run("2026-11-21 08:00") == ["07:06"]


def test_a_stopped_scheduler_starts_nothing():
    world = World("2026-11-21 06:30", plan())
    world.run("2026-11-21 06:59")
    world.scheduler.stop()
    assert world.run("2026-11-21 07:30") == []


def test_run_whose_scheduler_was_killed_counts_as_failed():
    world = World("2026-11-21 06:30", plan("0 7 * * *"))
    world.takes["apples"] = timedelta(hours=9)
    world.run("2026-11-21 07:05")
    world.restart()
    with capture_logs() as told:
        assert world.run("2026-11-21 07:30") == ["07:11"]
    assert [line["reason"] for line in told if line["event"] == "batch_failed"] == [
        "its scheduler was killed"
    ]


def test_database_that_is_away_delays_and_loses_nothing():
    world = World("2026-11-21 06:30", plan())
    world.run("2026-11-21 06:50")
    world.history.away = True
    assert world.run("2026-11-21 08:10") == []
    world.history.away = False
    assert world.run("2026-11-21 09:10") == ["08:11", "09:00"]


def test_unrecorded_end_is_recorded_later():
    world = World("2026-11-21 06:30", plan())
    world.run("2026-11-21 07:00")
    world.history.away = True
    world.run("2026-11-21 07:10")
    assert world.scheduler.busy
    world.history.away = False
    assert world.run("2026-11-21 07:30") == []
    assert world.history.kept[world.plans[0]].outcome is Outcome.OK


# -- what is told ------------------------------------------------------------------------------


def test_late_start_is_reported():
    world = World("2026-11-21 06:30", plan())
    world.run("2026-11-21 06:50")
    for minute, late in ((15, []), (16, [16.0])):
        world.now = utc(f"2026-11-21 07:{minute}")
        world.history.kept[world.plans[0]] = Progress(done_until=utc("2026-11-21 06:50"))
        with capture_logs() as told:
            world.scheduler.tick(world.now)
        assert [line["minutes"] for line in told if line["event"] == "batch_late"] == late
        world.restart()


def test_overlong_run_is_reported_once():
    world = World("2026-11-21 06:30", plan("0 7 * * *", expected=timedelta(minutes=20)))
    world.takes["apples"] = timedelta(minutes=90)
    with capture_logs() as told:
        world.run("2026-11-21 09:00")
    slow = [
        (line["longer_than"], line["minutes"]) for line in told if line["event"] == "batch_slow"
    ]
    assert slow == [("expected", 20.0), ("limit", 60.0)]


@pytest.mark.parametrize(
    ("progress", "following"),
    [
        (None, "2026-11-01 04:00"),
        (Progress(done_until=utc("2026-11-01 01:30")), "2026-11-01 04:00"),
        (Progress(done_until=utc("2026-11-01 00:30")), "2026-11-01 01:40"),
        (
            Progress(
                done_until=utc("2026-11-01 00:30"),
                due=utc("2026-11-01 01:00"),
                ended_at=utc("2026-11-01 01:38"),
                outcome=Outcome.FAILED,
                failures=1,
            ),
            "2026-11-01 01:43",
        ),
    ],
)
def test_next_start_knows_of_maintenance_misses_and_retries(progress, following):
    now = utc("2026-11-01 01:40")
    assert next_start(plan(), progress, USUAL, now) == utc(following)


# -- plans -------------------------------------------------------------------------------------

MAPPING = TableMapping(
    source="north.public.t",
    target="south.public.t",
    key=("id",),
    conflict=source_wins(),
    columns=(Column("id"),),
    schedules=(
        Schedule("0 * * * *", expected=timedelta(minutes=10)),
        Schedule("30 0 * * *", full=True, expected=timedelta(minutes=40)),
    ),
)


def test_a_mapping_s_schedules_become_the_batch_commands():
    found = plans_of({"apples": MAPPING}, USUAL)
    assert [(one.cron.expression, " ".join(one.arguments), one.database) for one in found] == [
        ("0 * * * *", "batch apples --wait --tolerate 100", "south"),
        ("30 0 * * *", "batch apples --full --wait --tolerate 100", "south"),
    ]


def test_the_settings_may_give_a_mapping_other_times():
    other = Scheduling(mappings={"apples": MappingSchedule(full=("0 5 * * *",))})
    (found,) = plans_of({"apples": MAPPING}, other)
    assert (found.cron.expression, found.full) == ("0 5 * * *", True)
    assert found.expected == timedelta(minutes=40)
    assert plans_of({"apples": MAPPING}, Scheduling(mappings={"apples": MappingSchedule()})) == []
