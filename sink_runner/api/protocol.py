"""HTTP/1.1 with limits that uvicorn lacks: time for a request to arrive, and open connections."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol


class LimitedProtocol(H11Protocol):
    """Closes connections that are one too many, and those whose client is too slow.

    A request has `request_seconds` from its first byte, or from the connection, to its last one;
    an answer has as long to leave once the client's window is full.
    """

    def __init__(
        self, *args: Any, request_seconds: float, max_connections: int, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._seconds = request_seconds
        self._max = max_connections
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._max:
            structlog.get_logger().warning("api_connection_refused", connections=self._max)
            transport.abort()
        else:
            self._start("request")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("request")
        self._stop("answer")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._start("request")
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body:
            self._stop("request")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("answer")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("answer")

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # a close would wait for a client that does not read

    def _start(self, what: str) -> None:
        if what not in self._deadlines:
            end = self.transport.abort
            self._deadlines[what] = self.loop.call_later(self._seconds, end)

    def _stop(self, what: str) -> None:
        if what in self._deadlines:
            self._deadlines.pop(what).cancel()
