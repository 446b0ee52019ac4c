"""An HTTP server that keeps what is posted to it."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Posted(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers with the statuses in `statuses`, then with 200; `posted` are all requests."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.statuses: list[int] = []
        self.posted: queue.Queue[Posted] = queue.Queue()

    def next(self) -> Posted:
        """Return the next request; wait for it."""
        return self.posted.get(timeout=60)

    def all(self) -> list[Posted]:
        """Return the requests that are there."""
        return [self.posted.get_nowait() for _ in range(self.posted.qsize())]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Serve during the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posted.put(Posted(self.path, dict(self.headers), body))
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
