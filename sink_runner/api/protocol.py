"""HTTP/1.1 with two limits that uvicorn lacks: time to receive a request, open connections."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol


class LimitedProtocol(H11Protocol):
    """Closes connections beyond the limit, and those of slow clients.

    A request must arrive within `request_seconds` of its first byte or of the connection.  If the
    write buffer of a connection is full, the client must read it within the same time.
    """

    def __init__(
        self, *args: Any, request_seconds: float, max_connections: int, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._request_seconds = request_seconds
        self._max_open = max_connections
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._max_open:
            structlog.get_logger().warning("api_connection_refused", connections=self._max_open)
            transport.abort()
        else:
            self._start_deadline("request")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline("request")
        self._stop_deadline("response")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._start_deadline("request")
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body:
            self._stop_deadline("request")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_deadline("response")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_deadline("response")

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # close() waits for a client that does not read

    def _start_deadline(self, what: str) -> None:
        if what not in self._deadlines:
            end = self.transport.abort
            self._deadlines[what] = self.loop.call_later(self._request_seconds, end)

    def _stop_deadline(self, what: str) -> None:
        if what in self._deadlines:
            self._deadlines.pop(what).cancel()
