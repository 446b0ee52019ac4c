"""The proxy forwards, cuts, stalls and delays connections, and counts what it does."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ...chaos.proxy import Proxy, ProxyStats
from ...stack.deployment import wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """Run a server that sends back what it receives; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while chunk := client.recv(100):
                    client.sendall(chunk)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    proxy = Proxy(echo)
    yield proxy
    proxy.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def test_proxy_counts_forwarded_bytes(proxy: Proxy) -> None:
    assert proxy.stats == ProxyStats()
    with connect(proxy) as connection:
        connection.sendall(b"three")
        assert connection.recv(10) == b"three"
        assert wait_until(lambda: proxy.stats == ProxyStats(forwarded_bytes=10), 2)


def test_cut_ends_connections_until_restored(proxy: Proxy) -> None:
    with connect(proxy) as before:
        before.sendall(b"one")
        assert before.recv(10) == b"one"
        proxy.cut()
        assert has_ended(before)
    assert proxy.stats.reset_connections == 1
    assert is_refused(proxy)
    assert wait_until(lambda: proxy.stats.reset_connections == 2, 2)
    proxy.restore()
    with connect(proxy) as after:
        after.sendall(b"two")
        assert after.recv(10) == b"two"
    assert proxy.stats.reset_connections == 2


def is_refused(proxy: Proxy) -> bool:
    """Return whether the proxy ends a new connection, which may also fail at once."""
    try:
        connection = connect(proxy)
    except OSError:
        return True
    with connection:
        return has_ended(connection)


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def test_stalled_bytes_arrive_after_restore(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.stall()
        connection.sendall(b"late")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        assert proxy.stats == ProxyStats(stalled_bytes=4)
        connection.settimeout(2)
        proxy.restore()
        assert connection.recv(10) == b"late"
        assert wait_until(lambda: proxy.stats == ProxyStats(stalled_bytes=4, forwarded_bytes=8), 2)


def test_delayed_bytes_arrive_late(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.delay(0.1)
        start = time.monotonic()
        connection.sendall(b"slow")
        assert connection.recv(10) == b"slow"
        assert time.monotonic() - start >= 0.2
        assert proxy.stats.delayed_bytes == 8


def test_kafka_address_is_replaced_by_proxy(echo: int) -> None:
    """The response of a broker contains its address; its length must not change."""
    proxy = Proxy(echo, kafka=True)
    address = b"127.0.0.1" + echo.to_bytes(4, "big")
    body = b"a" + address + b"b" * 200 + address
    with connect(proxy) as connection:
        connection.sendall(len(body).to_bytes(4, "big") + body)
        response = b""
        while len(response) < len(body) + 4:
            response += connection.recv(100)
    proxy.close()
    assert response[4:] == body.replace(address, b"127.0.0.1" + proxy.port.to_bytes(4, "big"))
