"""The scheduler with a simulated clock and simulated batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sink_runner.config.sections import MappingSchedule, ReconcileSchedule, Scheduling
from sink_runner.model.timetable import Cron
from sink_runner.plugin import Column, Schedule, TableMapping, source_wins
from sink_runner.schedule.plans import Outcome, Plan, Progress, next_start, plans_of
from sink_runner.schedule.scheduler import Scheduler

MINUTE = timedelta(minutes=1)
DEFAULTS = Scheduling()
NO_MAINTENANCE = Scheduling(maintenance="")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def plan(cron: str = "0 * * * *", name: str = "apples", target: str = "", **more) -> Plan:
    more = {"full": False, "expected": timedelta(minutes=30), "tolerated": 0} | more
    target = target or f"south.public.{name}"
    return Plan(mapping=name, source="north.public.t", target=target, cron=Cron(cron), **more)


@dataclass
class MemoryHistory:
    """A run history in memory, which can be unavailable."""

    runs: dict[Plan, Progress] = field(default_factory=dict)
    unavailable: bool = False

    def read(self, plans: Sequence[Plan], now: datetime) -> dict[Plan, Progress]:
        if self.unavailable:
            return {}
        for plan in plans:
            self.runs.setdefault(plan, Progress(done_until=now))
        return {plan: self.runs[plan] for plan in plans}

    def write(self, plan: Plan, progress: Progress) -> bool:
        if not self.unavailable:
            self.runs[plan] = progress
        return not self.unavailable


@dataclass(eq=False)
class Batch:
    plan: Plan
    started_at: datetime
    ends_at: datetime
    code: int
    simulation: "Simulation"
    terminated: bool = False

    def poll(self) -> int | None:
        if self.terminated:
            return 143
        return self.code if self.simulation.now >= self.ends_at else None

    def terminate(self) -> None:
        self.terminated = True

    kill = terminate


class Simulation:
    """A clock, and the batches that a scheduler has started."""

    def __init__(self, now: str | datetime, *plans: Plan, rules: Scheduling = DEFAULTS) -> None:
        self.now = utc(now) if isinstance(now, str) else now
        self.history = MemoryHistory()
        self.durations: dict[str, timedelta] = {}
        self.codes: dict[str, list[int]] = {}
        self.batches: list[Batch] = []
        self.plans = plans
        self.rules = rules
        self.restart()

    def restart(self) -> None:
        """Replace the scheduler, as if its process had been killed."""
        self.scheduler = Scheduler(self.plans, self.rules, self.history, self._start)

    def _start(self, plan: Plan) -> Batch:
        codes = self.codes.get(plan.mapping)
        duration = self.durations.get(plan.mapping, timedelta(seconds=20))
        code = codes.pop(0) if codes else 0
        self.batches.append(Batch(plan, self.now, self.now + duration, code, self))
        return self.batches[-1]

    def run(self, until: str | datetime, step: timedelta = MINUTE) -> list[str]:
        """Tick every `step`; return the start times of the new batches as HH:MM."""
        end = utc(until) if isinstance(until, str) else until
        before = len(self.batches)
        while self.now <= end:
            self.scheduler.tick(self.now)
            self.now += step
        return [f"{batch.started_at:%H:%M}" for batch in self.batches[before:]]


# -- due times ---------------------------------------------------------------------------------


def test_each_due_time_runs_once():
    simulation = Simulation("2026-11-21 06:30", plan())
    assert simulation.run("2026-11-21 09:30") == ["07:00", "08:00", "09:00"]


def test_missed_due_times_are_one_run():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.run("2026-11-21 07:10")
    simulation.now = utc("2026-11-21 11:20")
    simulation.restart()
    with capture_logs() as logs:
        assert simulation.run("2026-11-21 12:30") == ["11:20", "12:00"]
    assert {"event": "batch_started", "due": "2026-11-21T11:00+00:00", "caught_up": 3}.items() <= (
        next(line for line in logs if line["event"] == "batch_started").items()
    )


def test_due_times_in_maintenance_run_once_afterwards():
    simulation = Simulation("2026-11-01 00:30", plan(), plan("30 2 * * *", "pears"))
    simulation.run("2026-11-01 05:30")
    starts = [(f"{batch.started_at:%H:%M}", batch.plan.mapping) for batch in simulation.batches]
    assert sorted(starts) == [
        ("01:00", "apples"),
        ("04:00", "apples"),
        ("04:00", "pears"),
        ("05:00", "apples"),
    ]


def test_start_after_maintenance_is_not_late():
    simulation = Simulation("2026-11-01 00:30", plan("30 2 * * *"))
    with capture_logs() as logs:
        assert simulation.run("2026-11-01 05:30") == ["04:00"]
    assert not [line for line in logs if line["event"] == "batch_late"]


def test_retry_waits_for_end_of_maintenance():
    simulation = Simulation("2026-11-01 01:30", plan("50 1 * * *"))
    simulation.durations["apples"] = timedelta(minutes=15)
    simulation.codes["apples"] = [1]
    assert simulation.run("2026-11-01 04:30") == ["01:50", "04:00"]


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
    """Due times within maintenance are one run at its end."""
    start = datetime(year, month, 1, tzinfo=UTC) - 30 * MINUTE
    end = start + timedelta(days=31)
    plans = [plan(cron, f"m{n}") for n, cron in enumerate(crons)]
    rules = Scheduling(at_once=9)
    simulation = Simulation(start, *plans, rules=rules)
    while simulation.now <= end:
        simulation.scheduler.tick(simulation.now)
        # Tick every minute if an expression has such times; else at due times and a minute later.
        simulation.now += (
            MINUTE if simulation.now.hour < 5 or simulation.now.minute % 30 == 0 else 29 * MINUTE
        )
    for each in plans:
        times = [rules.window.shift(time) for time in each.cron.between(start, end)]
        starts = [batch.started_at for batch in simulation.batches if batch.plan == each]
        assert starts == list(dict.fromkeys(times))
        assert not any(rules.window.end(time) for time in starts)


# -- concurrency -------------------------------------------------------------------------------


def test_batches_of_one_target_run_in_turn():
    hourly, daily = plan(), plan("0 7 * * *", full=True)
    simulation = Simulation("2026-11-21 06:30", hourly, daily)
    simulation.durations["apples"] = timedelta(minutes=4)
    assert simulation.run("2026-11-21 07:30") == ["07:00", "07:04"]
    assert [batch.plan.full for batch in simulation.batches] == [False, True]


def test_other_targets_run_concurrently_up_to_limit():
    plans = [plan(name=name) for name in ("a", "b", "c")]
    simulation = Simulation("2026-11-21 06:30", *plans, rules=Scheduling(at_once=2))
    simulation.durations = dict.fromkeys("abc", timedelta(minutes=3))
    assert simulation.run("2026-11-21 07:30") == ["07:00", "07:00", "07:03"]


def test_reconciliations_run_one_by_one():
    plans = [plan(name=name, reconciles=True) for name in ("a", "b")]
    simulation = Simulation("2026-11-21 06:30", *plans)
    simulation.durations = {"a": timedelta(minutes=3)}
    assert simulation.run("2026-11-21 07:30") == ["07:00", "07:03"]


def test_reconciliation_delays_no_batch():
    """Batches of the same target start on time, and so do others at the limit of runs at once."""
    check, batch = plan(reconciles=True), plan("5 * * * *")
    simulation = Simulation("2026-11-21 06:30", check, batch, rules=Scheduling(at_once=1))
    simulation.durations["apples"] = timedelta(minutes=30)
    assert simulation.run("2026-11-21 07:10") == ["07:00", "07:05"]


def test_reconciliation_waits_for_batch_of_target():
    check, batch = plan("5 * * * *", reconciles=True), plan()
    simulation = Simulation("2026-11-21 06:30", check, batch)
    simulation.durations["apples"] = timedelta(minutes=10)
    assert simulation.run("2026-11-21 07:30") == ["07:00", "07:10"]


def test_every_mapping_is_reconciled_at_set_times():
    mapping = TableMapping(
        source="north.public.t",
        target="south.public.t",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
    )
    times = ReconcileSchedule(changed=("0 3 * * *",), full=("0 4 * * SUN",))
    plans = plans_of({"apples": mapping}, Scheduling(reconcile=times))
    assert [(one.mode, one.cron.expression, one.arguments) for one in plans] == [
        ("reconcile", "0 3 * * *", ("reconcile", "apples", "--exit-zero")),
        ("reconcile-full", "0 4 * * SUN", ("reconcile", "apples", "--full", "--exit-zero")),
    ]
    assert plans_of({"apples": mapping}, Scheduling()) == []


def test_times_missed_by_overlong_run_are_one():
    simulation = Simulation("2026-11-21 06:30", plan("*/10 * * * *"), rules=NO_MAINTENANCE)
    simulation.durations["apples"] = timedelta(minutes=35)
    assert simulation.run("2026-11-21 07:20") == ["06:40", "07:15"]


# -- failures ----------------------------------------------------------------------------------


def test_failed_run_is_retried_three_times():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *"))
    simulation.codes["apples"] = [1, 1, 1, 1, 1]
    with capture_logs() as logs:
        assert simulation.run("2026-11-21 09:00") == ["07:00", "07:06", "07:12", "07:18"]
    failed = [line for line in logs if line["event"] == "batch_failed"]
    assert [line["gave_up"] for line in failed] == [False, False, False, True]
    assert [line["attempt"] for line in failed] == [1, 2, 3, 4]


def test_successful_retry_is_the_last():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.codes["apples"] = [1, 1]
    assert simulation.run("2026-11-21 08:30") == ["07:00", "07:06", "07:12", "08:00"]
    assert simulation.history.runs[simulation.plans[0]].outcome is Outcome.OK


def test_next_due_time_resets_retry_count():
    simulation = Simulation("2026-11-21 06:30", plan("*/15 * * * *"))
    simulation.codes["apples"] = [1] * 9
    starts = simulation.run("2026-11-21 07:14")
    assert starts == ["06:45", "06:51", "06:57", "07:00", "07:06", "07:12"]


def test_configuration_error_is_not_retried():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *"))
    simulation.codes["apples"] = [78]
    assert simulation.run("2026-11-21 09:00") == ["07:00"]


def test_failure_does_not_delay_other_mappings():
    simulation = Simulation("2026-11-21 06:30", plan(), plan(name="pears"))
    simulation.codes["apples"] = [1] * 4
    simulation.run("2026-11-21 07:30")
    pears = [batch for batch in simulation.batches if batch.plan.mapping == "pears"]
    assert len(pears) == 1


def test_retry_count_survives_restart():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *"))
    simulation.codes["apples"] = [1] * 9
    simulation.run("2026-11-21 07:08")
    simulation.restart()
    assert simulation.run("2026-11-21 09:00") == ["07:12", "07:18"]


# -- stops and crashes -------------------------------------------------------------------------


def test_interrupted_run_restarts_without_counting():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *"))
    simulation.durations["apples"] = timedelta(minutes=30)
    simulation.run("2026-11-21 07:05")
    simulation.scheduler.stop()
    simulation.scheduler.tick(simulation.now)
    assert not simulation.scheduler.busy
    progress = simulation.history.runs[simulation.plans[0]]
    assert (progress.outcome, progress.failures) == (Outcome.INTERRUPTED, 0)
    simulation.restart()
    assert simulation.run("2026-11-21 08:00") == ["07:06"]


def test_stopped_scheduler_starts_nothing():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.run("2026-11-21 06:59")
    simulation.scheduler.stop()
    assert simulation.run("2026-11-21 07:30") == []


def test_run_of_killed_scheduler_counts_as_failed():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *"))
    simulation.durations["apples"] = timedelta(hours=9)
    simulation.run("2026-11-21 07:05")
    simulation.restart()
    with capture_logs() as logs:
        assert simulation.run("2026-11-21 07:30") == ["07:11"]
    assert [line["reason"] for line in logs if line["event"] == "batch_failed"] == [
        "its scheduler was killed"
    ]


def test_unavailable_history_delays_but_loses_nothing():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.run("2026-11-21 06:50")
    simulation.history.unavailable = True
    assert simulation.run("2026-11-21 08:10") == []
    simulation.history.unavailable = False
    assert simulation.run("2026-11-21 09:10") == ["08:11", "09:00"]


def test_unrecorded_end_is_recorded_later():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.run("2026-11-21 07:00")
    simulation.history.unavailable = True
    simulation.run("2026-11-21 07:10")
    assert simulation.scheduler.busy
    simulation.history.unavailable = False
    assert simulation.run("2026-11-21 07:30") == []
    assert simulation.history.runs[simulation.plans[0]].outcome is Outcome.OK


# -- reports -----------------------------------------------------------------------------------


def test_late_start_is_reported():
    simulation = Simulation("2026-11-21 06:30", plan())
    simulation.run("2026-11-21 06:50")
    for minute, late in ((15, []), (16, [16.0])):
        simulation.now = utc(f"2026-11-21 07:{minute}")
        simulation.history.runs[simulation.plans[0]] = Progress(done_until=utc("2026-11-21 06:50"))
        with capture_logs() as logs:
            simulation.scheduler.tick(simulation.now)
        assert [line["minutes"] for line in logs if line["event"] == "batch_late"] == late
        simulation.restart()


def test_overlong_run_is_reported_once():
    simulation = Simulation("2026-11-21 06:30", plan("0 7 * * *", expected=timedelta(minutes=20)))
    simulation.durations["apples"] = timedelta(minutes=90)
    with capture_logs() as logs:
        simulation.run("2026-11-21 09:00")
    slow = [
        (line["longer_than"], line["minutes"]) for line in logs if line["event"] == "batch_slow"
    ]
    assert slow == [("expected", 20.0), ("limit", 60.0)]


@pytest.mark.parametrize(
    ("progress", "expected"),
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
def test_next_start_regards_maintenance_misses_and_retries(progress, expected):
    now = utc("2026-11-01 01:40")
    assert next_start(plan(), progress, DEFAULTS, now) == utc(expected)


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


def test_schedules_of_mapping_become_batch_commands():
    plans = plans_of({"apples": MAPPING}, DEFAULTS)
    assert [(plan.cron.expression, " ".join(plan.arguments), plan.database) for plan in plans] == [
        ("0 * * * *", "batch apples --wait --tolerate 100", "south"),
        ("30 0 * * *", "batch apples --full --wait --tolerate 100", "south"),
    ]


def test_settings_replace_schedules_of_mapping():
    other = Scheduling(mappings={"apples": MappingSchedule(full=("0 5 * * *",))})
    (found,) = plans_of({"apples": MAPPING}, other)
    assert (found.cron.expression, found.full) == ("0 5 * * *", True)
    assert found.expected == timedelta(minutes=40)
    assert plans_of({"apples": MAPPING}, Scheduling(mappings={"apples": MappingSchedule()})) == []
