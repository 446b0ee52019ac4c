"""Serves /healthz, /readyz and /metrics in a thread of its own."""

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
"""Time from the connection to the end of the response."""
MAX_CONNECTIONS = 50


@contextmanager
def serving(settings: HealthSettings, health: Health) -> Iterator[str]:
    """Serve during the block; yield the address, or "" if nothing is served.

    Nothing is served if the settings turn it off, or if the port is taken.  That is logged, and the
    runner applies events without health checks.
    """
    server = _listen(settings, health) if settings.port else None
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


def _listen(settings: HealthSettings, health: Health) -> _Server | None:
    try:
        return _Server((settings.host, settings.port), _handler(health))
    except OSError as fault:
        structlog.get_logger().error(
            "health_not_answered", host=settings.host, port=settings.port, reason=fault.strerror
        )
        return None


class _Server(ThreadingHTTPServer):
    """Serves each client in a thread, so that a slow one delays neither others nor the shutdown.

    A connection beyond the limit is accepted, and the oldest one is closed: an orchestrator
    restarts a runner that refuses its probe.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS  # connections beyond it wait for seconds until TCP retries

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: OrderedDict[socket.socket, threading.Timer] = OrderedDict()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(REQUEST_SECONDS, _shut_down, [request])
        timer.daemon = True
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS:
                oldest, oldest_timer = self._open.popitem(last=False)
                oldest_timer.cancel()
                _shut_down(oldest)
            self._open[request] = timer
        timer.start()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            timer = self._open.pop(request, None)
        if timer is not None:
            timer.cancel()
        super().shutdown_request(request)


def _shut_down(connection: socket.socket) -> None:
    """Shut a connection down; the thread that reads from it closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "sink-runner", ""

        def do_GET(self) -> None:
            status, kind, body = respond(health, urlsplit(self.path).path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    return Handler


def respond(health: Health, path: str) -> tuple[HTTPStatus, str, bytes]:
    """Return status, content type and body for a path."""
    match path:
        case "/healthz":
            return HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n"
        case "/readyz":
            ready = health.ready()
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            mappings = {name: one.as_dict() for name, one in sorted(health.statuses().items())}
            body = json.dumps({"ready": ready, "mappings": mappings}, indent=2)
            return status, "application/json", f"{body}\n".encode()
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(health.registry)
        case _:
            return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not here\n"
