"""Starts and stops the parts, and knows which of them are alive.

A pid file names the process by its id *and* its start time: the id alone may by now belong to
another process, and a process that ended but was not reaped still has its id.
"""

import contextlib
import hashlib
import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .errors import PartDiedError
from .layout import Layout
from .restarts import Restarts, load_restarts, restarting

_KILL_SECONDS = 10
_TAIL_LINES = 15
_MOST_REASONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How one part is started and stopped."""

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    watched_files: tuple[Path, ...] = ()
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """What else makes a running process outdated, by the name that is shown for it."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20
    stop_all: bool = False
    """The signal goes to all that the part started: its leader does not pass it on."""
    restart: bool = False
    """Started again, with back-off, whenever it ends without being stopped."""

    def digests(self) -> dict[str, str]:
        """What a restart would pick up: its name, and a digest that changes with it."""
        facts = {
            "its command line": json.dumps([list(self.argv), self.restart]),
            **{f"variable {name}": text for name, text in self.env.items()},
            **self.fingerprint,
        }
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in facts.items()}
        for path in self.watched_files:
            if path.exists():
                digests[f"file {path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return digests


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A live process as its pid file describes it."""

    pid: int
    ticks: int
    boot: str
    digest: Mapping[str, str] | str
    """By name; version 1.0 wrote a single one."""
    stop_signal: int
    stop_seconds: float
    stop_all: bool = False

    def alive(self) -> bool:
        return self.boot == _boot() and _start_ticks(self.pid) == self.ticks


class Supervisor:
    """The processes of one stack home."""

    def __init__(self, layout: Layout, report: Callable[[str], None] | None = None) -> None:
        """`report` is called with the reason of each restart."""
        self._layout = layout
        self._report = report or (lambda _: None)
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def running(self, name: str) -> Running | None:
        """The live process of a part, or None."""
        path = self._pid_file(name)
        if not path.exists():
            return None
        try:
            known = Running(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return None  # incomplete, because the machine went down while it was written
        if known.alive():
            return known
        self._reap(known.pid)
        return None

    def names(self) -> list[str]:
        """Return every part that has a pid file."""
        return sorted(path.stem for path in self._layout.run.glob("*.pid"))

    def current(self, command: Command) -> bool:
        """Whether the part runs, and runs what `command` says."""
        running = self.running(command.name)
        return running is not None and not self._reasons(running, command)

    def restarts(self, name: str) -> Restarts:
        """How often the part ended and was started again since `start`."""
        return load_restarts(self._state_file(name))

    def ended(self, name: str, allowed: int = 0) -> bool:
        """Whether the part ended for good, or more often than `allowed` since `start`."""
        return self.running(name) is None or self.restarts(name).count > allowed

    def ensure(self, command: Command) -> bool:
        """Start the part, or restart it when it is outdated; False when nothing had to be done."""
        if running := self.running(command.name):
            reasons = self._reasons(running, command)
            if not reasons:
                return False
            self._report(f"restarting {command.name}: {_shortened(reasons)}")
        self.stop(command.name)
        self.start(command)
        return True

    def start(self, command: Command) -> Running:
        digests = command.digests()
        state = self._state_file(command.name)
        state.unlink(missing_ok=True)
        with self._layout.log(command.name).open("ab") as log:
            child = subprocess.Popen(
                restarting(state, command.argv) if command.restart else list(command.argv),
                cwd=command.cwd,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=command.user,
                group=command.user and _group(command.user),
                extra_groups=[] if command.user else None,
            )
        self._children[child.pid] = child
        running = Running(
            pid=child.pid,
            ticks=_start_ticks(child.pid) or 0,
            boot=_boot(),
            digest=digests,
            stop_signal=command.stop_signal,
            stop_seconds=command.stop_seconds,
            stop_all=command.stop_all,
        )
        path = self._pid_file(command.name)
        path.touch(mode=0o600)  # digests of passwords are in it
        path.write_text(json.dumps(asdict(running)), encoding="utf-8")
        return running

    def stop(self, *names: str) -> None:
        """Stop the parts at the same time; kill those that do not end within `stop_seconds`."""
        leaving = [(name, running) for name in names if (running := self.running(name))]
        for _, running in leaving:
            _signal(running, running.stop_signal)
        began = time.monotonic()
        for name, running in leaving:
            bound = began + running.stop_seconds
            ended = self._wait(name, bound)
            if not ended or (running.stop_all and not _group_ends(running, bound)):
                self._kill(name, running)
        for name in names:
            self._pid_file(name).unlink(missing_ok=True)
            self._state_file(name).unlink(missing_ok=True)
        # Another command may have ended what we started, and its pid file with it.
        for pid, child in list(self._children.items()):  # parts start in threads
            if child.poll() is not None:
                self._children.pop(pid, None)

    def kill(self, name: str) -> None:
        """Kill a part, as a crash does; its pid file stays."""
        if running := self.running(name):
            self._kill(name, running)

    def wait_until(
        self, name: str, ready: Callable[[], bool], seconds: float, *, restarts: int = 0
    ) -> None:
        """Wait for a part to become ready; if it ends, raise PartDiedError with its last lines.

        A part that has ended more often than `restarts` is stopped: it would end again.
        """
        bound = time.monotonic() + seconds
        while not ready():
            if self.ended(name, restarts):
                self.stop(name)
                raise PartDiedError(f"{name} ended before it was ready\n{self.tail(name)}")
            if time.monotonic() > bound:
                raise PartDiedError(f"{name} was not ready in {seconds:.0f} s\n{self.tail(name)}")
            time.sleep(0.05)

    def tail(self, name: str) -> str:
        path = self._layout.log(name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"last lines of {path}:", *(f"  {line}" for line in lines)])

    def _reasons(self, running: Running, command: Command) -> list[str]:
        """Why a running part is outdated, in name order."""
        before, after = running.digest, command.digests()
        if isinstance(before, str):
            return ["sink-stack changed"]
        changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
        reasons = [
            *(f"{name} is new" for name in after.keys() - before.keys()),
            *(f"{name} is gone" for name in before.keys() - after.keys()),
            *(f"{name} changed" for name in changed),
        ]
        if self.restarts(command.name).is_waiting:
            reasons.append(f"it ended with {self.restarts(command.name).reason}")
        return sorted(reasons)

    def _kill(self, name: str, running: Running) -> None:
        """Kill the group that the part leads, and wait until its ports and files are free."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        bound = time.monotonic() + _KILL_SECONDS
        self._wait(name, bound)
        _group_ends(running, bound)

    def _wait(self, name: str, bound: float) -> bool:
        while self.running(name):
            if time.monotonic() > bound:
                return False
            time.sleep(0.02)
        return True

    def _reap(self, pid: int) -> None:
        """Reap a child that ended; a process of an earlier command is not our child."""
        if child := self._children.pop(pid, None):
            child.wait()

    def _pid_file(self, name: str) -> Path:
        return self._layout.run / f"{name}.pid"

    def _state_file(self, name: str) -> Path:
        return self._layout.run / f"{name}.restarts"


def _shortened(reasons: Sequence[str]) -> str:
    more = len(reasons) - _MOST_REASONS
    return ", ".join(reasons[:_MOST_REASONS]) + (f" and {more} more" if more > 0 else "")


def memory(pid: int) -> int:
    """Resident bytes of a process and its descendants (PostgreSQL has one for a connection)."""
    total = 0
    for member in _family(pid):
        try:
            status = Path(f"/proc/{member}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        # Proportional: pages that several processes share are counted once.
        total += sum(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("Pss:")
        )
    return total


def _family(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [pid, *(member for child in listed.split() for member in _family(int(child)))]


def _start_ticks(pid: int) -> int | None:
    """When a process began, in ticks since boot; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold spaces and brackets
    state, ticks = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else ticks


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _signal(running: Running, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if running.stop_all:
            os.killpg(running.pid, number)
        else:
            os.kill(running.pid, number)


def _group_ends(running: Running, bound: float) -> bool:
    """Wait for what a part started."""
    while group_members(running.pid):
        if time.monotonic() > bound:
            return False
        time.sleep(0.05)
    return True


def group_members(group: int) -> list[int]:
    """The processes of a group that still have a thread, and so may hold a port."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        state, its_group, threads = fields[0], int(fields[2]), int(fields[17])
        # The first thread of a process may be gone before the others.
        gone = state in {"Z", "X"} and threads <= 1
        if its_group == group and not gone:
            found.append(int(path.parent.name))
    return found


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
