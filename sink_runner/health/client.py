"""Reads the states of the mappings from a running runner."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import NamedTuple

from ..config.sections import HealthSettings

_TIMEOUT_SECONDS = 2.0


class Reported(NamedTuple):
    """A mapping's state as the runner reports it, with the reason if it does not run."""

    state: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


def read_states(settings: HealthSettings) -> dict[str, Reported] | None:
    """Return the state of each mapping; None if no runner answers at the configured address."""
    if not settings.port:
        return None
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    try:
        with urllib.request.urlopen(
            f"http://{host}:{settings.port}/readyz", timeout=_TIMEOUT_SECONDS
        ) as response:
            body = response.read()
    except urllib.error.HTTPError as response:  # 503 while a mapping does not run
        body = response.read()
    except OSError:
        return None
    try:
        mappings = json.loads(body)["mappings"]
        return {
            name: Reported(str(one["state"]), str(one.get("reason", "")))
            for name, one in mappings.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # another program has the port
