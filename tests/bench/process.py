"""Run a program and measure its CPU time and memory from /proc."""

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

_SAMPLE_SECONDS = 0.1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LOG_TAIL_CHARACTERS = 2_000


@dataclass(slots=True)
class MeasuredProcess:
    """A running program; its samples are (seconds since 1970, CPU seconds used so far)."""

    process: subprocess.Popen[bytes]
    log: Path
    samples: list[tuple[float, float]] = field(default_factory=list)
    peak_bytes: int = 0
    check_health: Callable[[], None] | None = None
    """Raises RuntimeError if the program is running but has failed."""

    def check(self) -> None:
        """Raise RuntimeError with the end of its log if it has failed."""
        if self.process.poll():
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARACTERS:]
            raise RuntimeError(f"{self.process.args!r} failed:\n{tail}")
        if self.check_health is not None:
            self.check_health()

    def cpu_between(self, start: float, end: float) -> float:
        """Return the CPU seconds used between two times, interpolated between samples."""
        return self._cpu_at(end) - self._cpu_at(start)

    def _cpu_at(self, time: float) -> float:
        at = bisect_left(self.samples, (time,))
        if at == 0 or at == len(self.samples):
            return self.samples[min(at, len(self.samples) - 1)][1]
        (before, used), (after, more) = self.samples[at - 1], self.samples[at]
        return used + (more - used) * (time - before) / (after - before)

    def sample(self) -> bool:
        """Add a sample; return False if the program has ended."""
        folder = Path(f"/proc/{self.process.pid}")
        try:
            # The program's name in parentheses may contain spaces and parentheses.
            fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            status = (folder / "status").read_text(encoding="utf-8")
        except OSError:
            return False
        self.samples.append((time.time(), (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND))
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = int(line.split()[1]) * 1024
        return True


@contextmanager
def start_process(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path
) -> Iterator[MeasuredProcess]:
    """Run a program during the block, sample it, and end it with SIGTERM."""
    done = threading.Event()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, env={**os.environ, **env}, stdout=stream, stderr=stream, start_new_session=True
        )
    measured = MeasuredProcess(process, log)

    def take_samples() -> None:
        while measured.sample() and not done.wait(_SAMPLE_SECONDS):
            pass

    sampler = threading.Thread(target=take_samples, daemon=True)
    sampler.start()
    try:
        yield measured
    finally:
        done.set()
        sampler.join()
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
