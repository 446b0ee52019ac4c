"""The schedules of the installed plugins, as `sink-runner` in its own environment reports them.

The answer is kept in a file and requested again once anything that it depends on has changed:
the configuration, a plugin's code, or what is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SECONDS = 60
_EX_CONFIG = 78
# What Airflow's own environment sets up must not reach a program in another one.
_FOREIGN = ("AIRFLOW", "_AIRFLOW", "PYTHONPATH", "VIRTUAL_ENV", "SUPERVISOR_COMMS")


class ScheduleError(Exception):
    """`sink-runner schedule --json` failed."""


def runner(environ: Mapping[str, str] = os.environ) -> str:
    """The program `sink-runner`: $SINK_RUNNER, or the one on the path."""
    return environ.get("SINK_RUNNER", "sink-runner")


def own_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for `sink-runner`."""
    return {name: text for name, text in environ.items() if not name.startswith(_FOREIGN)}


def load(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The rules and schedules; `errors` has the plugins that could not be read."""
    kept = Path(environ.get("AIRFLOW_HOME", Path.home() / "airflow")) / "sink-schedules.json"
    request = _request(environ)
    answer = _fresh(kept, request)
    if answer is None:
        answer = {**_read_schedules(environ), "request": request}
        _store(kept, answer)
    return answer


def _request(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the answer depends on."""
    names = ("SINK_RUNNER", "SINK_CONFIG", "SINK_PLUGINS", "SINK_PLUGINS_OFF")
    return {name: environ[name] for name in names if name in environ}


def _fresh(kept: Path, request: dict[str, str]) -> dict[str, Any] | None:
    """Return the cached answer, unless a file that it depends on is newer or missing."""
    try:
        answer: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        newest = max(Path(path).stat().st_mtime_ns for path in answer["depends_on"])
        since = kept.stat().st_mtime_ns
    except (OSError, ValueError, KeyError):
        return None
    return answer if newest < since and answer.get("request") == request else None


def _read_schedules(environ: Mapping[str, str]) -> dict[str, Any]:
    completed = subprocess.run(
        [runner(environ), "schedule", "--json"],
        env=own_environment(environ),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if completed.returncode not in (0, _EX_CONFIG) or not completed.stdout:
        lines = "\n".join(completed.stderr.splitlines()[-5:])
        raise ScheduleError(
            f"`sink-runner schedule --json` ended with {completed.returncode}\n{lines}"
        )
    answer: dict[str, Any] = json.loads(completed.stdout)
    return answer


def _store(path: Path, answer: dict[str, Any]) -> None:
    """Write the file atomically, since other processes read and write it, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=path.name, delete=False, encoding="utf-8"
    ) as stream:
        json.dump(answer, stream)
    Path(stream.name).rename(path)
