"""Another ``sink-runner`` command as a process of its own: its memory and its crash are its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class Child:
    """A command that was started; what it prints goes where ours goes."""

    def __init__(self, arguments: Iterable[str], config: Path | None) -> None:
        # -P: the folder that we stand in is no place to import from.
        program = [sys.executable, "-P", "-m", "sink_runner"]
        told = ["--config", str(config)] if config else []
        # A session of its own: Ctrl-C is for us, and we tell the child in our own words.
        self._process = subprocess.Popen(  # noqa: S603 - our own program, by its own path
            [*program, *told, *arguments], stdin=subprocess.DEVNULL, start_new_session=True
        )

    def poll(self) -> int | None:
        """The exit code, as a shell gives it; None while it runs."""
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
