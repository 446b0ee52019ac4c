"""Reload policies while the runner works: valid ones are used, invalid ones are logged.

A thread reads the folder and Ranger Admin, if one is configured, so that no mapping waits for them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ..errors import SinkError, StalePoliciesError
from .classification import CLASSIFICATION
from .policy import Policies, load_policies
from .policy_file import POLICIES, SERVICE_DEFINITION
from .principals import USERS

if TYPE_CHECKING:
    from ..model.status import Health

FILES = (SERVICE_DEFINITION, POLICIES, CLASSIFICATION, USERS)
Stamp = tuple[tuple[int, int, int] | None, ...]


class PolicyWatch:
    """The policies in force.  The constructor loads them, and may raise PolicyError."""

    def __init__(
        self,
        directory: Path,
        key: str = "",
        *,
        download: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        age: float = 0.0,
        max_age: float = math.inf,
    ) -> None:
        """`key` is MASK_HASH's; `download` renews the folder's files, or raises a SinkError.

        `age` says how many seconds ago the folder's files were confirmed; `current` does not return
        policies that were not confirmed for `max_age` seconds.
        """
        self._directory = directory
        self._key = key
        self._download = download
        self._clock = clock
        self._stamp = _stamp(directory)
        self._policies = load_policies(directory, key)
        self._confirmed = clock() - age
        self._max_age = max_age
        self._fault = ""
        self._log = structlog.get_logger()

    def current(self) -> Policies:
        """Return the last valid policies; the same object until they change.

        Raises StalePoliciesError if they were not confirmed for `max_age` seconds.
        """
        if self.age_seconds > self._max_age:
            raise StalePoliciesError(
                "the masking policies have not been confirmed for more than "
                f"{self._max_age:g} seconds (policies.max_age_seconds): "
                f"{self._fault or 'nothing has looked for newer ones'}. What needs them goes on as "
                "soon as they are: correct that, or raise policies.max_age_seconds"
            )
        return self._policies

    @property
    def age_seconds(self) -> float:
        """Return the seconds since these policies were last confirmed."""
        return self._clock() - self._confirmed

    def show(self, health: Health) -> None:
        """Register the metrics of version and age."""
        version = health.gauge("sink_policy_version", "policyVersion of the policies that hold.")
        version.set_function(lambda: self._policies.version)
        age = health.gauge(
            "sink_policy_age_seconds", "Since the policies were last known to be the latest."
        )
        age.set_function(lambda: self.age_seconds)

    def look(self) -> None:
        """Load changed policies; log a fault once, and keep the last valid ones."""
        try:
            if self._download is not None:
                self._download()
            self._read()
        except SinkError as fault:
            self._failed(str(fault))
        except Exception as fault:  # noqa: BLE001 - the thread has to go on
            self._failed(f"unexpected {type(fault).__name__}")
        else:
            self._fault = ""
            self._confirmed = self._clock()

    def _failed(self, reason: str) -> None:
        if reason != self._fault:
            self._log.error("policies_not_refreshed", reason=reason)
        self._fault = reason

    def _read(self) -> None:
        stamp = _stamp(self._directory)
        if stamp == self._stamp and not self._fault:
            return
        found = load_policies(self._directory, self._key)
        self._stamp = stamp
        if found.digest != self._policies.digest:
            self._policies = found
            self._log.info("policies_refreshed", version=found.version, digest=found.digest)

    @contextmanager
    def watching(self, seconds: float) -> Iterator[None]:
        """Reload every `seconds` while the block runs; 0: never."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(seconds):
                self.look()

        thread = threading.Thread(target=watch, name="policies", daemon=True)
        if seconds:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if seconds:
                thread.join()


def _stamp(directory: Path) -> Stamp:
    """Return a value that changes when a file is written or replaced."""

    def of(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    return tuple(of(directory / name) for name in FILES)
