"""Runners that join and leave under load, and how long the others take to take over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from .deployment import Deployment, Runner, wait_until

_SECONDS = 90
_STOP_SECONDS = 20


@dataclass(slots=True, kw_only=True)
class Members:
    """The runners of a deployment, the oldest first."""

    deployment: Deployment
    runners: list[Runner] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """How long each takeover took, by its cause."""

    def join(self, count: int = 1) -> None:
        """Start runners together; wait until each owns a partition."""
        new = [Runner.start(self.deployment) for _ in range(count)]
        self.runners += new
        self._time("join", lambda: all(map(self.deployment.owned_offsets, new)))

    def kill(self) -> None:
        """Kill the oldest runner; wait until the others own all of its partitions."""
        self._leave("SIGKILL", Runner.kill)

    def terminate(self) -> None:
        """Stop the oldest runner by SIGTERM; wait until the others own all of its partitions."""
        self._leave("SIGTERM", lambda runner: runner.process.terminate())

    def report(self) -> str:
        return "\n".join(
            f"{cause}: median {median(times):.1f} s, longest {max(times):.1f} s, of {len(times)}"
            for cause, times in self.seconds.items()
        )

    def _leave(self, cause: str, end: Callable[[Runner], None]) -> None:
        leaver = self.runners.pop(0)
        assert self.deployment.owned_offsets(leaver)
        end(leaver)
        self._time(cause, lambda: not self.deployment.owned_offsets(leaver))
        leaver.process.wait(_STOP_SECONDS)

    def _time(self, cause: str, condition: Callable[[], bool]) -> None:
        began = time.monotonic()
        assert wait_until(condition, _SECONDS), self.deployment.log_tail()
        self.seconds.setdefault(cause, []).append(time.monotonic() - began)
        assert all(runner.running for runner in self.runners), self.deployment.log_tail()


@contextmanager
def run_members(deployment: Deployment, count: int) -> Iterator[Members]:
    """Run `count` runners; kill those that are left after the block."""
    members = Members(deployment=deployment)
    try:
        members.join(count)
        yield members
    finally:
        for runner in members.runners:
            runner.kill()


def rounds() -> int:
    """Return how often to repeat: once as a test, `ROUNDS` times as a measurement."""
    return int(os.environ.get("ROUNDS", "1"))
