"""Run another ``sink-runner`` command as a process, so that its crash does not end this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class Child:
    """A running command, with this process's stdout and stderr."""

    def __init__(self, arguments: Iterable[str], config: Path | None) -> None:
        # -P: do not import from the current folder.
        program = [sys.executable, "-P", "-m", "sink_runner"]
        option = ["--config", str(config)] if config else []
        # In a new session, because Ctrl-C must reach only this process, which then ends the child.
        self._process = subprocess.Popen(  # noqa: S603 - this program, by its own path
            [*program, *option, *arguments], stdin=subprocess.DEVNULL, start_new_session=True
        )

    def poll(self) -> int | None:
        """Return the exit code as a shell reports it; None while the process runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
