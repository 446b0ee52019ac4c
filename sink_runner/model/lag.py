"""How far the target of a mapping is behind its topic, whether or not its worker runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_MAX_ENDS = 1_000
"""The number of log ends stored for a partition: enough for an hour, at one every few seconds."""


class _End(NamedTuple):
    """An offset that the log had reached, and since when: Unix time."""

    offset: int
    since: float


@dataclass(slots=True)
class _Partition:
    applied: int = 0
    """The first offset that is not applied."""
    ends: deque[_End] = field(default_factory=deque)
    """The log's ends beyond `applied`, the oldest first."""
    read: deque[_End] = field(default_factory=deque)
    """The ends of batches that are not applied; the time is the commit of their oldest event."""

    def extend(self, end: _End) -> None:
        known = self.ends[-1].offset if self.ends else self.applied
        if end.offset <= known:
            return
        if len(self.ends) == _MAX_ENDS:
            end = _End(end.offset, self.ends.pop().since)
        self.ends.append(end)

    def advance(self, applied: int) -> None:
        self.applied = max(applied, self.applied)
        for known in (self.ends, self.read):
            while known and known[0].offset <= applied:
                known.popleft()

    @property
    def events(self) -> int:
        return self.ends[-1].offset - self.applied if self.ends else 0

    @property
    def oldest(self) -> float | None:
        """Commit time of the oldest unapplied event; before decoding, when its offset was seen."""
        return min((known[0].since for known in (self.ends, self.read) if known), default=None)


class Lag:
    """The lag of one mapping, from what its worker and the lag watch report; any thread may call.

    The oldest event that is not applied has the age of its commit once it is decoded.  Until then
    its age is the time since its partition's log was seen to reach beyond what is applied.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._partitions: dict[int, _Partition] = {}
        self._lock = threading.Lock()

    def restart(self, offsets: Mapping[int, int]) -> None:
        """Replace what is known of newly claimed partitions, which are applied up to these offsets.

        The offsets may be lower than before."""
        with self._lock:
            self._partitions.update((at, _Partition(applied)) for at, applied in offsets.items())

    def note_ends(self, ends: Mapping[int, int]) -> None:
        """The logs of these partitions end at these offsets."""
        now = self._clock()
        with self._lock:
            for partition, offset in ends.items():
                self._partitions.setdefault(partition, _Partition()).extend(_End(offset, now))

    def note_read(self, ends: Mapping[int, int], committed: float | None) -> None:
        """A batch up to these offsets was read; its oldest event was committed then (Unix time)."""
        self.note_ends(ends)
        if committed is not None:
            with self._lock:
                for partition, offset in ends.items():
                    self._partitions[partition].read.append(_End(offset, committed))

    def note_applied(self, offsets: Mapping[int, int]) -> None:
        """All events below these offsets are applied."""
        with self._lock:
            for partition, offset in offsets.items():
                self._partitions.setdefault(partition, _Partition()).advance(offset)

    @property
    def events(self) -> int:
        """How many offsets the target is behind."""
        with self._lock:
            return sum(one.events for one in self._partitions.values())

    @property
    def seconds(self) -> float:
        """The age of the oldest event that is not applied; 0 if there is none."""
        with self._lock:
            oldest = [one.oldest for one in self._partitions.values() if one.oldest is not None]
            return max(0.0, self._clock() - min(oldest)) if oldest else 0.0
