"""Answers who asks how the runner is, in a thread of its own."""

from __future__ import annotations

import json
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ..config.sections import HealthSettings
from ..model.status import Health

REQUEST_SECONDS = 10.0
"""From the connection to the end of the answer."""
MAX_CONNECTIONS = 50


@contextmanager
def answering(settings: HealthSettings, health: Health) -> Iterator[str]:
    """Answer while the block runs, at the address that is given.

    "" if nothing is answered: the settings say so, or somebody else has the port, which is told
    and no reason to carry no events.
    """
    server = _listening(settings, health) if settings.port else None
    if server is None:
        yield ""
        return
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield f"http://{settings.host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(settings: HealthSettings, health: Health) -> _Server | None:
    try:
        return _Server((settings.host, settings.port), _handler(health))
    except OSError as fault:
        structlog.get_logger().error(
            "health_not_answered", host=settings.host, port=settings.port, reason=fault.strerror
        )
        return None


class _Server(ThreadingHTTPServer):
    """A client that hangs keeps neither the others nor the runner's end waiting.

    One connection beyond the limit closes the oldest: anyone may connect, and a probe that is
    refused restarts a healthy runner.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS  # a longer burst waits for seconds until TCP tries again

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: OrderedDict[socket.socket, threading.Timer] = OrderedDict()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(REQUEST_SECONDS, _cut, [request])
        timer.daemon = True
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                oldest, waiting = self._open.popitem(last=False)
                waiting.cancel()
                _cut(oldest)
            self._open[request] = timer
        timer.start()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            timer = self._open.pop(request, None)
        if timer is not None:
            timer.cancel()
        super().shutdown_request(request)


def _cut(connection: socket.socket) -> None:
    """End a connection; the thread that reads from it closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "sink-runner", ""

        def do_GET(self) -> None:
            status, kind, body = answer(health, urlsplit(self.path).path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A quiet run is quiet, and who asks is nobody's business."""

    return Handler


def answer(health: Health, path: str) -> tuple[HTTPStatus, str, bytes]:
    """The status, content type and body for a path."""
    match path:
        case "/healthz":
            return HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n"
        case "/readyz":
            ready = health.ready()
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            mappings = {name: one.told() for name, one in sorted(health.statuses().items())}
            body = json.dumps({"ready": ready, "mappings": mappings}, indent=2)
            return status, "application/json", f"{body}\n".encode()
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(health.registry)
        case _:
            return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not here\n"
