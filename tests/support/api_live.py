"""Serves the API application on a TCP port, in this process."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from sink_runner.api.serve import configure
from sink_runner.config.api import Api


@contextlib.contextmanager
def serve_on_port(app: FastAPI, api: Api) -> Iterator[str]:
    """Serve `app` on a free loopback port and yield its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = configure(app, api, shutdown_seconds=5)
        config.lifespan = "off"
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
