"""Serve the API in this process until SIGTERM or SIGINT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI

from ..config import Config
from ..config.api import Api
from ..masking.ranger.renewal import watch_policies
from ..signals import handled_signals
from .app import create_app
from .protocol import LimitedProtocol
from .routes import Routes
from .services import assemble

_BACKLOG = 512


class _Server(uvicorn.Server):
    """Stops at a signal; uvicorn would raise it again, so the exit code would not be 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with handled_signals(self._stop):
            yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit  # a second signal does not wait for requests
        self.should_exit = True


def serve(config: Config, routes: Routes, routers: Iterable[APIRouter] = ()) -> int:
    """Serve until a signal, then finish the requests in flight; return 1 if the port is taken."""
    policies = watch_policies(config.policies)
    services = assemble(config, routes, policies.current)
    api = services.api
    server = _Server(configure(create_app(services, routers), api, config.shutdown_seconds))
    structlog.get_logger().info("api_started", host=api.host, port=api.port)
    if not (routes.events or routes.queries or routes.requests):
        structlog.get_logger().warning(
            "api_routes_missing",
            reason="no plugin that is on has the hook sink_api: /v1/ has no routes",
        )
    try:
        with policies.watching(config.policies.refresh_seconds):
            server.run()
    except SystemExit:  # uvicorn could not listen
        structlog.get_logger().error("api_not_started", host=api.host, port=api.port)
        return 1
    structlog.get_logger().info("api_finished")
    return 0 if server.started else 1


def configure(app: FastAPI, api: Api, shutdown_seconds: float) -> uvicorn.Config:
    """Return uvicorn's settings for the service."""
    protocol: Any = partial(
        LimitedProtocol, request_seconds=api.request_seconds, max_connections=api.max_connections
    )
    return uvicorn.Config(
        app,
        host=api.host,
        port=api.port,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, ceil(shutdown_seconds - 1)),
    )
