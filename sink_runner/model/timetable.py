"""When batch runs are due: cron expressions in UTC, and a maintenance window without any run.

CronSim reads the expressions: it does what Debian's cron does, has types and no dependency, and
knows the first Sunday of a month (``SUN#1``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cronsim import CronSim, CronSimError

_FIELDS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Cron:
    """A cron expression of five fields, in UTC: the minutes that it matches."""

    expression: str

    def __post_init__(self) -> None:
        """Raise ValueError if the expression is not valid or never matches."""
        if len(self.expression.split()) != _FIELDS:
            raise ValueError(f"{self.expression!r} is not a cron expression of five fields")
        try:
            next(CronSim(self.expression, _EPOCH))
        except CronSimError as fault:
            raise ValueError(f"cron expression {self.expression!r}: {fault}") from None
        except StopIteration:
            raise ValueError(f"cron expression {self.expression!r} never comes") from None

    def after(self, time: datetime) -> datetime:
        """Return the first minute later than `time`."""
        return next(CronSim(self.expression, time.astimezone(UTC)))

    def latest(self, time: datetime) -> datetime:
        """Return the last minute that is not later than `time`."""
        minute = time.astimezone(UTC).replace(second=0, microsecond=0)
        return next(CronSim(self.expression, minute + _MINUTE, reverse=True))

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the minutes later than `after` and not later than `until`."""
        time = self.after(after)
        while time <= until:
            yield time
            time = self.after(time)


@dataclass(frozen=True)
class Maintenance:
    """The hours in which no batch starts."""

    expression: str
    """When it begins; empty if there is none."""
    length: timedelta

    @cached_property
    def _begins(self) -> Cron | None:
        return Cron(self.expression) if self.expression and self.length else None

    def end(self, time: datetime) -> datetime | None:
        """Return when the maintenance that `time` falls into ends; None outside maintenance."""
        if self._begins is None:
            return None
        over = self._begins.latest(time) + self.length
        return over if time < over else None

    def shift(self, time: datetime) -> datetime:
        """Return `time`, or the end of the maintenance that it falls into."""
        return self.end(time) or time
