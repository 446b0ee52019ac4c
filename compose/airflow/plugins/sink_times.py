"""When a schedule fires: the minutes of a cron expression, those in maintenance put off to its end.

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
        """The first one later than `time`."""
        over = self.maintenance_end(time)
        if over is not None and self.put_off(_latest(self.cron, time)) == over:
            return over
        return self.put_off(next(CronSim(self.cron, time.astimezone(UTC))))

    def latest(self, time: datetime) -> datetime:
        """The last one that is not later than `time`."""
        minute = _latest(self.cron, time)
        while self.put_off(minute) > time:
            minute = _latest(self.cron, minute - _MINUTE)
        return self.put_off(minute)

    def put_off(self, time: datetime) -> datetime:
        return self.maintenance_end(time) or time

    def maintenance_end(self, time: datetime) -> datetime | None:
        """When the maintenance that `time` falls into is over; None if there is none then."""
        if not self.maintenance:
            return None
        length = timedelta(seconds=self.maintenance_seconds)
        over = _latest(self.maintenance, time) + length
        return over if time < over else None


def _latest(cron: str, time: datetime) -> datetime:
    minute = time.astimezone(UTC).replace(second=0, microsecond=0)
    return next(CronSim(cron, minute + _MINUTE, reverse=True))
