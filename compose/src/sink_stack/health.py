"""The state of the mappings that the running runner reports at /readyz."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_ASK_SECONDS = 3
_STARTED_SECONDS = 20
RUNNING = "running"
STARTING = "starting"
BROKEN = ("quarantined", "stopped")
"""States that do not end within seconds: a person has to act."""


@dataclass(frozen=True, slots=True)
class MappingState:
    """One mapping's state, and the reason where it does not run."""

    state: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


def mapping_states(port: int) -> Mapping[str, MappingState] | None:
    """The state of each mapping; None if no runner answers at this port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=_ASK_SECONDS) as it:
            body = it.read()
    except urllib.error.HTTPError as refused:  # 503 while a mapping does not run
        body = refused.read()
    except OSError:
        return None
    try:
        return {
            name: MappingState(str(one["state"]), str(one.get("reason", "")))
            for name, one in json.loads(body)["mappings"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # another program has the port


def started_states(port: int, alive: Callable[[], bool]) -> Mapping[str, MappingState]:
    """Return the states once no mapping is starting, the runner has ended, or 20 s have passed."""
    bound = time.monotonic() + _STARTED_SECONDS
    while True:
        found = mapping_states(port) or {}
        settled = found and not any(one.state == STARTING for one in found.values())
        if settled or not alive() or time.monotonic() > bound:
            return found
        time.sleep(0.2)


def not_running(states: Mapping[str, MappingState]) -> list[str]:
    """A line for each mapping that does not run, with the reason."""
    return [
        f"mapping {name} is {one}" for name, one in sorted(states.items()) if one.state != RUNNING
    ]
