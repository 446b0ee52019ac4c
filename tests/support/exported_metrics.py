"""The text of /metrics."""

from pathlib import Path

from prometheus_client import generate_latest

from sink_runner.config.sections import Scheduling
from sink_runner.dlq.outbox import unpublished_gauge
from sink_runner.loading import discovery
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.model.batch import Batch, Oldest
from sink_runner.model.status import Health
from sink_runner.plugin import Column, Schedule, TableMapping, source_wins
from sink_runner.runtime.database_metrics import DatabaseMetrics
from sink_runner.runtime.versions import show_versions

_ROOT = Path(__file__).parents[2]
_MAPPING = TableMapping(
    source="north.public.orders",
    target="citizen.public.orders",
    key=("id",),
    conflict=source_wins(),
    columns=(Column("id"),),
    schedules=(Schedule("0 3 * * *", expected_rows=500),),
    expected_per_day=2400,
)


def export_metrics() -> str:
    """Return the metrics of a runner, each with a series."""
    health = Health()
    mapping = health.mapping("orders")
    mapping.committed({"written": 1}, 0.1, 1_000)
    mapping.settled({"replayed": 1})
    mapping.time_steps({"write": 0.1})
    mapping.time_events(Batch(oldest=Oldest(1_000, 1_001), taken=1.1))
    mapping.dead_letters(0, 0, 1)
    unpublished_gauge(health).labels("citizen", "north").set(0)
    PolicyWatch(_ROOT / "ranger-policies").show(health)
    metrics = DatabaseMetrics({}, health, {"orders": _MAPPING}, Scheduling())
    for query in (*metrics._target, *metrics._source):
        for gauge, _ in query.gauges:
            gauge.report("citizen", [(*("x" for _ in gauge._labels), 1)])
    show_versions(health, discovery.installed().values())
    return generate_latest(health.registry).decode()
