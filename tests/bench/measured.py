"""One measured pass of a writer over the recorded topic."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

from . import timeline
from .home import TARGET, Connection, Home
from .process import Watched
from .recording import Recording, fill

_SECONDS = 600
_EVERY = 0.25
_ARRIVED = "SELECT revision FROM bench.account WHERE id = %s"
_FORGET = "DELETE FROM sink.partition_offset WHERE topic LIKE '%.bench.account'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass came to.  Sizes in bytes."""

    rate: float
    """Changes a second, from the first commit to the last."""
    cpu_us: float
    """The program's own CPU time for one change."""
    peak_bytes: int
    same_rows: bool
    """The target holds what the source holds, masked columns aside."""


def run(home: Home, recording: Recording, program: AbstractContextManager[Watched]) -> Pass:
    """Empty the target but for half of the keys, let the program at it, and read the outcome."""
    with home.admin(TARGET) as target:
        prepare(home, target, recording)
        with program as watched:
            _await_last(target, recording, watched)
        found = timeline.read(target)
        cpu = watched.cpu_between(found.began, found.ended)
        return Pass(
            rate=found.rate,
            cpu_us=cpu / (found.last - found.first) * 1e6,
            peak_bytes=watched.peak_bytes,
            same_rows=Recording.digest_of(target) == recording.digest,
        )


def prepare(home: Home, target: Connection, recording: Recording) -> None:
    """Every second account is there, without any change; nobody remembers having read."""
    target.execute("TRUNCATE bench.account")
    fill(target, "account", first=2, last=recording.accounts, step=2)
    if target.execute("SELECT to_regclass('sink.partition_offset')").fetchone() != (None,):
        target.execute(_FORGET.encode())
    home.rest()


def _await_last(target: Connection, recording: Recording, watched: Watched) -> None:
    """Look for the last change by its key now and then; that costs the database nothing."""
    bound = time.monotonic() + _SECONDS
    while True:
        found = target.execute(_ARRIVED, (recording.last_key,)).fetchone()
        if found == (recording.events,):
            return
        watched.check()
        if time.monotonic() > bound:
            raise TimeoutError(f"the last change did not arrive within {_SECONDS} s")
        time.sleep(_EVERY)
