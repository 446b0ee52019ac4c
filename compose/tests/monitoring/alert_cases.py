"""For each alert, series for which it fires, and series just below its threshold.

Values are in promtool's notation: `0+5x60` is 0 and 60 steps of 5, `1x60` is 1 and 60 more
samples of 1. The interval of the samples is one minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """Series of an alert, and the time `after` which it must fire, in promtool's notation."""

    firing: Series
    quiet: Series
    after: str
    common: Series = field(default_factory=dict)
    """Series that belong to both."""


def _gauge(series: str, firing: float, quiet: float, minutes: int = 20) -> Case:
    """Return a case of a gauge that exceeds its threshold after the first minute, or never."""
    return Case(
        firing={series: f"{quiet}x1 {firing}x{minutes}"},
        quiet={series: f"{quiet}x{minutes}"},
        after=f"{minutes}m",
    )


def _events(outcome: str, per_minute: float, minutes: int) -> Series:
    series = f'sink_events_total{{mapping="one",outcome="{outcome}"}}'
    return {series: f"0+{per_minute}x{minutes}"}


def _failure_share(share: float, minutes: int) -> Series:
    return _events("dead", 1000 * share, minutes) | _events("written", 1000 * (1 - share), minutes)


def _slow_share(share: float) -> Series:
    """Return a histogram in which this share of the events takes 10 s to 30 s, the others less."""
    counts = {"10.0": round(1000 * (1 - share)), "30.0": 1000, "+Inf": 1000}
    name = "sink_event_latency_seconds_bucket"
    return {
        f'{name}{{mapping="one",stage="total",le="{bound}"}}': f"0+{count}x20"
        for bound, count in counts.items()
    }


def _dead_letters(mapping: str, error: str, status: str, instance: str = "a") -> str:
    labels = f'mapping="{mapping}",error_class="{error}",status="{status}",instance="{instance}"'
    return f"sink_dead_letters_by_class{{{labels}}}"


_GIBIBYTE = 1024**3
_HELD = 'sink_replication_slot_wal_held_bytes{database="d",slot="s"}'
_FAILURES = 'sink_schedule_failures{mapping="one",mode="full"}'
_DUE = 'sink_schedule_due_timestamp_seconds{mapping="one",mode="full"}'
_START = 'sink_batch_run_start_timestamp_seconds{mapping="one",mode="full"}'
_ROWS = 'sink_batch_run_rows{mapping="one",mode="full",count="read"}'
_EXPECTED_ROWS = 'sink_schedule_expected_rows{mapping="one",mode="full"}'
_VERIFIED = 'sink_verified_through_timestamp_seconds{mapping="one"}'
_PAUSE = 'sink_operator_pause_start_timestamp_seconds{mapping="one",instance="a"}'
_DAY = 24 * 60
_VOLUME = 'sink_events_total{mapping="one",outcome="written"}'

CASES = {
    "SinkRunnerDown": Case(
        firing={'up{job="sink-runner",instance="a"}': "1 0x5"},
        quiet={'up{job="sink-runner",instance="a"}': "1 0 1x4"},
        after="5m",
    ),
    "SinkMappingPaused": Case(
        firing={'sink_paused{mapping="one"}': "0 1x5"},
        quiet={'sink_paused{mapping="one"}': "0 1 0x4"},
        after="5m",
    ),
    "SinkPausedByOperator": Case(firing={_PAUSE: "59x61"}, quiet={_PAUSE: "60x61"}, after="61m"),
    "SinkMappingQuarantined": Case(
        firing={'sink_mapping_quarantined{mapping="one"}': "0 1x5"},
        quiet={'sink_mapping_quarantined{mapping="one"}': "0 1 0x4"},
        after="5m",
    ),
    "SinkDeadLetters": _gauge(_dead_letters("one", "A", "open"), 1, 0),
    "SinkDeadLetterQueueLarge": Case(
        firing={_dead_letters("one", "A", "open"): "401x5"},
        quiet={_dead_letters("one", "A", "open"): "400x5"},
        # A second runner exports the same number: it counts once.
        common={
            _dead_letters("one", "A", "open", instance="b"): "400x5",
            _dead_letters("one", "B", "open"): "100x5",
            _dead_letters("two", "A", "open"): "500x5",
        },
        after="5m",
    ),
    "SinkManyWaiting": _gauge(_dead_letters("one", "A", "parked"), 10001, 10000),
    "SinkBudgetNearlySpent": _gauge('sink_failure_budget_left{mapping="one"}', 99, 100),
    "SinkDeadLettersUnpublished": _gauge('sink_dead_letters_unpublished{database="d"}', 1, 0),
    "SinkLate": _gauge('sink_lag_seconds{mapping="one"}', 61, 60),
    "SinkVeryLate": _gauge('sink_lag_seconds{mapping="one"}', 301, 300),
    "SinkPoliciesOld": _gauge("sink_policy_age_seconds", 3601, 3600),
    "SinkConnectorDown": _gauge('sink_replication_slot_active{database="d",slot="s"}', 0, 1),
    "SinkSlotGrowth": _gauge(_HELD, _GIBIBYTE + 1, _GIBIBYTE),
    "SinkBatchFailed": _gauge(_FAILURES, 1, 0),
    "SinkBatchLate": Case(
        firing={_DUE: "239x20"}, quiet={_DUE: "300x20"}, common={_START: "238x20"}, after="20m"
    ),
    "SinkBatchOverSla": Case(
        firing={_START: "59x61"},
        quiet={_START: "60x61"},
        common={'sink_batch_run_outcome{mapping="one",mode="full",outcome="running"}': "1x61"},
        after="61m",
    ),
    "SinkReconcileDifferent": _gauge(
        'sink_reconcile_outcome{mapping="one",mode="full",outcome="different"}', 1, 0
    ),
    "SinkReconcileOld": Case(
        firing={_VERIFIED: "59x2881"}, quiet={_VERIFIED: "60x2881"}, after="2881m"
    ),
    "SinkFailureRate": Case(
        firing=_failure_share(0.011, 70), quiet=_failure_share(0.009, 70), after="70m"
    ),
    "SinkFailureRateElevated": Case(
        firing=_failure_share(0.0031, 400), quiet=_failure_share(0.0029, 400), after="400m"
    ),
    "SinkLatencyHigh": Case(firing=_slow_share(0.052), quiet=_slow_share(0.04), after="20m"),
    "SinkVolumeDrop": Case(
        firing={_VOLUME: f"0+10x{_DAY - 1} {10 * _DAY}+4.9x120"},
        quiet={_VOLUME: f"0+10x{_DAY - 1} {10 * _DAY}+5.1x120"},
        after=f"{_DAY + 90}m",
    ),
    "SinkVolumeAboveEstimate": Case(
        firing={_VOLUME: f"0+2.1x{_DAY}"},
        quiet={_VOLUME: f"0+1.9x{_DAY}"},
        common={'sink_expected_daily_events{mapping="one"}': f"{_DAY}x{_DAY}"},
        after=f"{_DAY}m",
    ),
}

# Further cases, by alert and description.
FIRING_CASES = {
    ("SinkSlotGrowth", "a slot that reaches 2 GiB within four hours"): Case(
        firing={_HELD: f"0+{_GIBIBYTE // 130}x45"}, quiet={}, after="45m"
    ),
    ("SinkBatchFailed", "a run that no schedule started"): Case(
        firing={'sink_batch_run_outcome{mapping="one",mode="full",outcome="interrupted"}': "1x5"},
        quiet={},
        after="5m",
    ),
    ("SinkBatchLate", "a mapping that never ran"): Case(
        firing={_DUE: "60x20"}, quiet={}, after="20m"
    ),
    ("SinkVolumeAboveEstimate", "a batch run"): Case(
        firing={_ROWS: "401x5"}, quiet={}, common={_EXPECTED_ROWS: "200x5"}, after="5m"
    ),
    ("SinkVolumeDrop", "a mapping without an event since the runner's start"): Case(
        firing={_VOLUME: f"0+1.8x{_DAY - 1} _x120"}, quiet={}, after=f"{_DAY + 90}m"
    ),
}
QUIET_CASES = {
    ("SinkMappingPaused", "a person paused the mapping"): Case(
        quiet={'sink_paused{mapping="one"}': "1x5", _PAUSE: "0x5"}, firing={}, after="5m"
    ),
    ("SinkLate", "a person paused the mapping"): Case(
        quiet={'sink_lag_seconds{mapping="one"}': "61x20", _PAUSE: "0x20"}, firing={}, after="20m"
    ),
    ("SinkVeryLate", "a person paused the mapping"): Case(
        quiet={'sink_lag_seconds{mapping="one"}': "301x20", _PAUSE: "0x20"}, firing={}, after="20m"
    ),
    ("SinkVolumeAboveEstimate", "a batch run of twice the declared rows"): Case(
        quiet={_ROWS: "400x5"}, firing={}, common={_EXPECTED_ROWS: "200x5"}, after="5m"
    ),
    ("SinkSlotGrowth", "a slot that stays below 2 GiB for four hours"): Case(
        quiet={_HELD: f"0+{_GIBIBYTE // 150}x45"}, firing={}, after="45m"
    ),
    ("SinkBatchFailed", "a run that is done"): Case(
        quiet={'sink_batch_run_outcome{mapping="one",mode="full",outcome="done"}': "1x5"},
        firing={},
        after="5m",
    ),
    ("SinkBatchLate", "a run that has started since it was due"): Case(
        quiet={_DUE: "100x30", _START: "100x30"}, firing={}, after="30m"
    ),
    ("SinkReconcileDifferent", "a full run that found no difference since"): Case(
        quiet={
            'sink_reconcile_outcome{mapping="one",mode="changed",outcome="different"}': "_x20",
            'sink_reconcile_outcome{mapping="one",mode="full",outcome="equal"}': "1x20",
        },
        firing={},
        after="20m",
    ),
    ("SinkBatchOverSla", "a run that ended"): Case(
        quiet={
            _START: "0x90",
            'sink_batch_run_outcome{mapping="one",mode="full",outcome="running"}': "1x30 _x60",
        },
        firing={},
        after="90m",
    ),
    ("SinkVolumeDrop", "too few events a day before to compare with"): Case(
        quiet={_VOLUME: f"0+1.6x{_DAY - 1} _x120"}, firing={}, after=f"{_DAY + 90}m"
    ),
    ("SinkFailureRate", "failures that ended a while ago"): Case(
        quiet={
            'sink_events_total{mapping="one",outcome="dead"}': "0+100x60 6000x10",
            'sink_events_total{mapping="one",outcome="written"}': "0+1000x70",
        },
        firing={},
        after="70m",
    ),
    ("SinkFailureRate", "failures that have only just begun"): Case(
        quiet={
            'sink_events_total{mapping="one",outcome="dead"}': "0x65 0+20x5",
            'sink_events_total{mapping="one",outcome="written"}': "0+1000x70",
        },
        firing={},
        after="70m",
    ),
}
