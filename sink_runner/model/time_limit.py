"""The statement timeout of a database, which doubles while statements time out."""

from __future__ import annotations

from ..errors import SinkError, TimedOutError

_MAX_FACTOR = 16  # times the configured timeout; a longer statement leaves the mapping paused


class TimeLimit:
    """A timeout that doubles after each attempt that timed out, until one succeeds."""

    def __init__(self, seconds: float) -> None:
        self._configured = seconds
        self.seconds = seconds
        """The statement timeout of the next session."""
        self._succeeded = False

    def record_success(self) -> None:
        """Start again from the configured timeout at the next failure."""
        self._succeeded = True

    def record_failure(self, error: SinkError) -> SinkError:
        """Adapt the timeout to a failed attempt; returns `error`, to be raised."""
        if self._succeeded or not isinstance(error, TimedOutError):
            self.seconds = self._configured
        if isinstance(error, TimedOutError):
            self.seconds = min(self.seconds * 2, self._configured * _MAX_FACTOR)
        self._succeeded = False
        return error
