"""When a schedule fires: at the times of a cron expression, or at the end of maintenance.

The same rule as in `sink_runner/model/timetable.py`, which lives in another environment; a test
compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Times:
    """The times at which a batch may start, UTC."""

    cron: str
    maintenance: str = ""
    """When it begins, a cron expression; empty if there is none."""
    maintenance_seconds: float = 0

    def after(self, time: datetime) -> datetime:
        """Return the first time after `time`."""
        over = self.maintenance_end(time)
        if over is not None and self.put_off(_latest(self.cron, time)) == over:
            return over
        return self.put_off(next(CronSim(self.cron, time.astimezone(UTC))))

    def latest(self, time: datetime) -> datetime:
        """Return the last time that is not after `time`."""
        minute = _latest(self.cron, time)
        while self.put_off(minute) > time:
            minute = _latest(self.cron, minute - _MINUTE)
        return self.put_off(minute)

    def put_off(self, time: datetime) -> datetime:
        return self.maintenance_end(time) or time

    def maintenance_end(self, time: datetime) -> datetime | None:
        """Return the end of the maintenance that `time` falls into, or None."""
        if not self.maintenance:
            return None
        length = timedelta(seconds=self.maintenance_seconds)
        over = _latest(self.maintenance, time) + length
        return over if time < over else None


def _latest(cron: str, time: datetime) -> datetime:
    minute = time.astimezone(UTC).replace(second=0, microsecond=0)
    return next(CronSim(cron, minute + _MINUTE, reverse=True))
