"""A gateway in front of the real registry, with separate TLS certificates and logins."""

import base64
import contextlib
import http.client
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...support.certificates import Authority
from .server import PASSWORD, USER


def basic_login(user: str, password: str) -> str:
    """Return the value of the Authorization header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Gateway:
    """Forwards requests that carry one of `logins`; every request if that set is empty."""

    def __init__(self, upstream: int, certificate: tuple[Path, Path] | None = None) -> None:
        """`upstream` is the registry's port on the loopback; without a certificate, no TLS."""
        self.logins: set[str] = set()
        self.requests: list[str] = []
        self.status: int | None = None
        """The status of every response instead of forwarding, if set."""
        gateway, self._context = self, None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, answer = gateway.respond(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: Any) -> None:
                """Keep the output of the tests clean."""

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self) -> Any:
                raw, address = super().get_request()
                if gateway._context is None:
                    return raw, address
                # The handshake is done by the connection's own thread.
                secure = gateway._context.wrap_socket(
                    raw, server_side=True, do_handshake_on_connect=False
                )
                return secure, address

            def handle_error(self, *_args: Any) -> None:
                """Ignore a client that closes its connection."""

        self._upstream = upstream
        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http" if certificate is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.address}/apis/ccompat/v7"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def require_certificate(self, authority: Authority) -> None:
        assert self._context is not None
        self._context.load_verify_locations(authority.file)
        self._context.verify_mode = ssl.CERT_REQUIRED

    def use_certificate(self, certificate: tuple[Path, Path]) -> None:
        """Use another certificate for connections from now on."""
        assert self._context is not None
        self._context.load_cert_chain(*certificate)

    def respond(self, path: str, login: str | None) -> tuple[int, bytes]:
        self.requests.append(path)
        if self.status is not None:
            return self.status, b""
        if self.logins and login not in self.logins:
            return 401, b""
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=30)
        with contextlib.closing(upstream):
            upstream.request("GET", path, headers={"Authorization": basic_login(USER, PASSWORD)})
            response = upstream.getresponse()
            return response.status, response.read()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def run_gateway(*arguments: Any) -> Iterator[Gateway]:
    """Run a gateway; stop it when the block is left."""
    started = Gateway(*arguments)
    try:
        yield started
    finally:
        started.stop()
