"""How long a target, or a database that is asked, may take over one statement."""

from __future__ import annotations

from ..errors import SinkError, TimedOutError

_MOST = 16  # times the configured time: what takes even longer is told as paused, again and again


class TimeLimit:
    """Twice as long after each attempt that ran out of time, until one succeeds."""

    def __init__(self, seconds: float) -> None:
        self._least = seconds
        self.seconds = seconds
        """What the next session is opened with."""
        self._enough = False

    def enough(self) -> None:
        """An attempt succeeded: the next one that does not starts from the beginning."""
        self._enough = True

    def heed(self, error: SinkError) -> SinkError:
        """Heed why an attempt failed, and hand it back."""
        if self._enough or not isinstance(error, TimedOutError):
            self.seconds = self._least
        if isinstance(error, TimedOutError):
            self.seconds = min(self.seconds * 2, self._least * _MOST)
        self._enough = False
        return error
