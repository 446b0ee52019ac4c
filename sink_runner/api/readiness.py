"""Check the dependencies, at most once a second and in a separate thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

_CACHE_SECONDS = 1.0


class Readiness:
    """Checks and caches the state of the dependencies.

    The endpoint needs no credentials, so its load must not reach dependencies or routes."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        self._parts = parts
        self._executor = ThreadPoolExecutor(1, "readiness")
        self._check: asyncio.Future[dict[str, bool]] | None = None
        self._valid_until = 0.0

    async def check(self) -> dict[str, bool]:
        """Return whether each dependency answers; the result is at most a second old."""
        if self._check is None or (self._check.done() and time.monotonic() >= self._valid_until):
            loop = asyncio.get_running_loop()
            self._check = loop.run_in_executor(self._executor, self._run_checks)
        return await asyncio.shield(self._check)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run_checks(self) -> dict[str, bool]:
        found = {name: answers() for name, answers in self._parts.items()}
        self._valid_until = time.monotonic() + _CACHE_SECONDS
        return found
