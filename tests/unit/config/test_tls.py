"""A server that ends its connection has not refused TLS."""

import socket
import ssl
import struct
import time

import pytest

from sink_runner.config.tls import Refusal, refusal

ADVICE: dict[Refusal, str] = dict.fromkeys(
    ("untrusted", "certificate", "no TLS", "TLS"), "see the guide"
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


def connect_and_reset() -> socket.socket:
    """Return a client socket whose server has ended and then reset the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 5)
        accepted, _ = server.accept()
        accepted.shutdown(socket.SHUT_RDWR)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        accepted.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            client.getpeername()
        except OSError:
            return client
    raise AssertionError("the connection was not reset")


@pytest.mark.parametrize("context", [None, ssl.create_default_context()], ids=["plain", "tls"])
def test_ended_connection_is_not_a_refusal(context: ssl.SSLContext | None) -> None:
    with connect_and_reset() as client:
        assert refusal(client, "127.0.0.1", context, ADVICE) is None
