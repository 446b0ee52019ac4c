"""The timetable of the DAGs: cron in UTC, with maintenance; missed times become one run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from sink_times import Times

# A DAG file is read again every few seconds, so the first time of a new DAG may have just gone by.
_JUST_NOW = timedelta(minutes=5)


class BatchTimetable(Timetable):
    """Makes up for missed times by one run, whatever `catchup` says."""

    def __init__(self, cron: str, maintenance: str = "", maintenance_seconds: float = 0) -> None:
        self._times = Times(cron, maintenance, maintenance_seconds)
        self.description = f"{cron} UTC, except during maintenance"

    @property
    def summary(self) -> str:
        return self._times.cron

    def serialize(self) -> dict[str, Any]:
        times = self._times
        return {
            "cron": times.cron,
            "maintenance": times.maintenance,
            "maintenance_seconds": times.maintenance_seconds,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> BatchTimetable:
        return cls(**data)

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self,
        *,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
    ) -> DagRunInfo | None:
        """The latest time if it was missed, else the next; a new DAG has missed nothing."""
        now = datetime.now(UTC)
        latest = self._times.latest(now)
        if last_automated_data_interval is not None:
            following = max(latest, self._times.after(last_automated_data_interval.end))
        else:
            following = latest if now - latest <= _JUST_NOW else self._times.after(now)
        if restriction.earliest is not None and following < restriction.earliest:
            following = self._times.after(restriction.earliest - timedelta(minutes=1))
        if restriction.latest is not None and following > restriction.latest:
            return None
        return DagRunInfo.exact(pendulum.instance(following, tz="UTC"))


class SinkPlugin(AirflowPlugin):
    """Lets Airflow's other processes read the timetable of a stored DAG."""

    name = "sink_runner"
    timetables = (BatchTimetable,)
