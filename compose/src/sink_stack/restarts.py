"""Runs one program and starts it again whenever it ends, with back-off.

It is executed by its path and uses the standard library only, since it runs as long as its program.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_FIRST_SECONDS = 1.0
_MOST_SECONDS = 60.0
# A program that ran this long was healthy, so the back-off starts again.
_HEALTHY_SECONDS = 120.0
# EX_CONFIG: it would end the same way again.
_FINAL = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How often a program was started again, and its current process."""

    count: int = 0
    pid: int | None = None
    """None while it waits to be started again."""
    reason: str = ""
    """How it ended the last time."""

    @property
    def is_waiting(self) -> bool:
        return self.count > 0 and self.pid is None


def load_restarts(path: Path) -> Restarts:
    """Read the state that `run` saves; an empty one if there is no usable file."""
    try:
        return Restarts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Restarts()


def restarting(state: Path, argv: Sequence[str]) -> list[str]:
    """The command that runs another one and starts it again."""
    return [sys.executable, "-I", "-S", __file__, str(state), *argv]


def pause(last: float, lived: float) -> float:
    """Return the seconds until the next start: doubled each time, reset after a healthy run."""
    if lived >= _HEALTHY_SECONDS or not last:
        return _FIRST_SECONDS
    return min(2 * last, _MOST_SECONDS)


def run(state: Path, argv: Sequence[str]) -> int:
    """Run a program until a signal stops it or it refuses its configuration."""
    stopped = threading.Event()
    child: subprocess.Popen[bytes] | None = None

    def stop(number: int, _: object) -> None:
        stopped.set()
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    count, wait, reason = 0, 0.0, ""
    while True:
        began = time.monotonic()
        child = subprocess.Popen(argv)
        if stopped.is_set():
            child.terminate()
        _save(state, Restarts(count=count, pid=child.pid, reason=reason))
        code = child.wait()
        if stopped.is_set() or code == _FINAL:
            return max(code, 0)
        lived = time.monotonic() - began
        wait, count, reason = pause(wait, lived), count + 1, _reason(code)
        _save(state, Restarts(count=count, reason=reason))
        print(
            f"sink-stack: {state.stem} ended with {reason} after {lived:.0f} s;"
            f" starting it again in {wait:.0f} s (restart {count})",
            flush=True,
        )
        if stopped.wait(wait):
            return 0


def _reason(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _save(path: Path, state: Restarts) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
