"""Whether the parts that the service needs answer: asked at most once a second, by one thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

_KEEP_SECONDS = 1.0


class Readiness:
    """Anyone may ask, so however many do, the parts and the threads of callbacks do not notice."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        self._parts = parts
        self._executor = ThreadPoolExecutor(1, "readiness")
        self._asked: asyncio.Future[dict[str, bool]] | None = None
        self._valid_until = 0.0

    async def check(self) -> dict[str, bool]:
        """Return whether each part answers, as of at most a second ago."""
        if self._asked is None or (self._asked.done() and time.monotonic() >= self._valid_until):
            loop = asyncio.get_running_loop()
            self._asked = loop.run_in_executor(self._executor, self._ask)
        return await asyncio.shield(self._asked)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> dict[str, bool]:
        found = {name: answers() for name, answers in self._parts.items()}
        self._valid_until = time.monotonic() + _KEEP_SECONDS
        return found
