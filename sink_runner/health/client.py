"""Reads the states of the mappings from a running runner."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from ..config.sections import HealthSettings

_TIMEOUT_SECONDS = 2.0
_STEPS = "sink_batch_step_seconds"


class Reported(NamedTuple):
    """A mapping's state as the runner reports it, with the reason if it does not run."""

    state: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


def read_states(settings: HealthSettings) -> dict[str, Reported] | None:
    """Return the state of each mapping; None if no runner answers at the configured address."""
    body = _read(settings, "/readyz")
    if body is None:
        return None
    try:
        mappings = json.loads(body)["mappings"]
        return {
            name: Reported(str(one["state"]), str(one.get("reason", "")))
            for name, one in mappings.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # another program has the port


def read_step_seconds(settings: HealthSettings, mapping: str) -> Mapping[str, float]:
    """Return the mean time of each step of a batch, in seconds, since the runner was started.

    Empty if no runner answers, or the mapping has written no batch.
    """
    totals: dict[str, dict[str, float]] = defaultdict(dict)
    with suppress(ValueError, KeyError):  # another program has the port
        text = (_read(settings, "/metrics") or b"").decode()
        for family in text_string_to_metric_families(text):
            if family.name == _STEPS:
                for sample in family.samples:
                    if sample.labels["mapping"] == mapping:
                        totals[sample.labels["step"]][sample.name] = sample.value
    return {
        step: total[f"{_STEPS}_sum"] / total[f"{_STEPS}_count"]
        for step, total in totals.items()
        if total.get(f"{_STEPS}_count")
    }


def _read(settings: HealthSettings, path: str) -> bytes | None:
    """Return what the runner at the configured address answers; None if none does."""
    if not settings.port:
        return None
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    try:
        with urllib.request.urlopen(
            f"http://{host}:{settings.port}{path}", timeout=_TIMEOUT_SECONDS
        ) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as response:  # /readyz answers 503 while a mapping does not run
        return bytes(response.read())
    except (OSError, HTTPException):  # the latter: another program has the port
        return None
