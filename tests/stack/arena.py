"""The two databases with history and load, and the runner as a process that can be killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from ..oracle.comparison import Difference, differences

_PROGRESS = "SELECT coalesce(sum(next_offset), 0) FROM sink.partition_offset"
_DEAD = "SELECT count(*) FROM public.sync_dlq"
_NUMBERS = "SELECT DISTINCT new->>'aadhaar_number' FROM history.change"
_PAUSE = 0.2
_SHOWN = 40
_SIGNIFICANT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """What a test of the running product looks at; both sessions are the administrator's."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    dsns: tuple[str, str]
    environment: Mapping[str, str]
    root: Path
    log: Path

    @contextmanager
    def runner(self) -> Iterator["Runner"]:
        """A runner from its installed command, dead when the block is left."""
        runner = Runner.start(self)
        try:
            yield runner
        finally:
            runner.kill()

    def progress(self) -> int:
        """How far all partitions were applied, as both targets hold it."""
        return sum(self._number(connection, _PROGRESS) for connection in self._both())

    def dead_letters(self) -> int:
        return sum(self._number(connection, _DEAD) for connection in self._both())

    def differences(self) -> list[Difference]:
        return differences(self.warehouse, self.citizen)

    def settle(self, seconds: float) -> list[Difference]:
        """The differences that are left once there are none, or the time is over."""
        bound = time.monotonic() + seconds
        while (left := self.differences()) and time.monotonic() < bound:
            time.sleep(_PAUSE)
        return left

    def numbers_in_the_log(self) -> int:
        """How many lines of the runners' log hold some citizen's Aadhaar number."""
        numbers = {str(number) for (number,) in self.citizen.execute(_NUMBERS) if number}
        numbers = {number for number in numbers if len(number) > _SIGNIFICANT}
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return sum(any(number in line for number in numbers) for line in lines)

    def _both(self) -> tuple[psycopg.Connection, psycopg.Connection]:
        return self.warehouse, self.citizen

    def _number(self, connection: psycopg.Connection, query: LiteralString) -> int:
        try:
            row = connection.execute(query).fetchone()
        except psycopg.errors.UndefinedTable:  # no runner was here yet
            return 0
        assert row is not None
        return int(row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One process of `sink-runner run`; what it says is kept in the arena's log."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, arena: Arena) -> "Runner":
        command = [str(Path(sys.executable).with_name("sink-runner")), "run"]
        with arena.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=arena.root, env=dict(arena.environment), stdout=log, stderr=log
            )
        return cls(process=process)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float) -> int:
        """Ask it to end, and return its exit code; a runner that does not end is an error."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


def until(fact: Callable[[], bool], seconds: float) -> bool:
    """Wait for something to become true."""
    bound = time.monotonic() + seconds
    while not (true := fact()) and time.monotonic() < bound:
        time.sleep(_PAUSE)
    return true


def told(left: list[Difference]) -> str:
    """Differences for a failed test: which rows and columns, no values."""
    lines = [f"{len(left)} differences", *map(str, left[:_SHOWN])]
    return "\n".join(lines)
