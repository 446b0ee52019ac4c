"""A program under measurement: what it takes of CPU and memory, read from /proc."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_EVERY = 0.1  # seconds
_TICK = os.sysconf("SC_CLK_TCK")
_LAST_LINES = 2_000  # characters


@dataclass(slots=True)
class Watched:
    """A running program; its samples are (seconds since 1970, CPU seconds used so far)."""

    process: subprocess.Popen[bytes]
    log: Path
    samples: list[tuple[float, float]] = field(default_factory=list)
    peak_bytes: int = 0
    health: Callable[[], None] | None = None
    """Raises RuntimeError if the program runs and yet does not work."""

    def check(self) -> None:
        """Raise RuntimeError with its last words if it has failed."""
        if self.process.poll():
            words = self.log.read_text(encoding="utf-8", errors="replace")[-_LAST_LINES:]
            raise RuntimeError(f"{self.process.args!r} failed:\n{words}")
        if self.health is not None:
            self.health()

    def cpu_between(self, began: float, ended: float) -> float:
        """CPU seconds used between two moments."""
        return self._cpu_at(ended) - self._cpu_at(began)

    def _cpu_at(self, moment: float) -> float:
        at = bisect_left(self.samples, (moment,))
        if at == 0 or at == len(self.samples):
            return self.samples[min(at, len(self.samples) - 1)][1]
        (before, used), (after, more) = self.samples[at - 1], self.samples[at]
        return used + (more - used) * (moment - before) / (after - before)

    def sample(self) -> bool:
        """Look once; False when the program is gone."""
        folder = Path(f"/proc/{self.process.pid}")
        try:
            # The name before may hold spaces and brackets.
            fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            status = (folder / "status").read_text(encoding="utf-8")
        except OSError:
            return False
        self.samples.append((time.time(), (int(fields[11]) + int(fields[12])) / _TICK))
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = int(line.split()[1]) * 1024
        return True


@contextmanager
def running(argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> Iterator[Watched]:
    """Run a program beside the block, watch it, and end it with SIGTERM after the block."""
    done = threading.Event()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, env={**os.environ, **env}, stdout=stream, stderr=stream, start_new_session=True
        )
    watched = Watched(process, log)

    def watch() -> None:
        while watched.sample() and not done.wait(_EVERY):
            pass

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield watched
    finally:
        done.set()
        watcher.join()
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
