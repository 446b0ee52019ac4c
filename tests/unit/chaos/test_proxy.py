"""The relay breaks what goes through it, and nothing that is there before or after."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ...chaos.proxy import Done, Proxy
from ...stack.arena import until


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while piece := client.recv(100):
                    client.sendall(piece)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def relay(echo: int) -> Iterator[Proxy]:
    made = Proxy(echo)
    yield made
    made.close()


def client(relay: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=2)


def test_intact_relay_counts_what_it_carries(relay: Proxy) -> None:
    assert relay.done == Done()
    with client(relay) as one:
        one.sendall(b"three")
        assert one.recv(10) == b"three"
        assert until(lambda: relay.done == Done(carried=10), 2)


def test_cut_connections_end_until_healed(relay: Proxy) -> None:
    with client(relay) as before:
        before.sendall(b"one")
        assert before.recv(10) == b"one"
        relay.cut()
        assert ended(before)
    assert relay.done.reset == 1
    assert refused(relay)
    assert until(lambda: relay.done.reset == 2, 2)
    relay.heal()
    with client(relay) as after:
        after.sendall(b"two")
        assert after.recv(10) == b"two"
    assert relay.done.reset == 2


def refused(relay: Proxy) -> bool:
    """The reset may come so soon that it is the connection itself that fails."""
    try:
        one = client(relay)
    except OSError:
        return True
    with one:
        return ended(one)


def ended(one: socket.socket) -> bool:
    try:
        return one.recv(10) == b""
    except ConnectionResetError:
        return True


def test_what_is_stalled_comes_late_and_whole(relay: Proxy) -> None:
    with client(relay) as one:
        relay.stall()
        one.sendall(b"late")
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(10)
        assert relay.done == Done(held=4)
        one.settimeout(2)
        relay.heal()
        assert one.recv(10) == b"late"
        assert until(lambda: relay.done == Done(held=4, carried=8), 2)


def test_what_is_slow_takes_its_time(relay: Proxy) -> None:
    with client(relay) as one:
        relay.slow(0.1)
        began = time.monotonic()
        one.sendall(b"slow")
        assert one.recv(10) == b"slow"
        assert time.monotonic() - began >= 0.2
        assert relay.done.delayed == 8


def test_kafka_is_announced_at_the_relay(echo: int) -> None:
    """A broker's answer holds its address; the length of the answer stays."""
    relay = Proxy(echo, kafka=True)
    here = b"127.0.0.1" + echo.to_bytes(4, "big")
    body = b"a" + here + b"b" * 200 + here
    with client(relay) as one:
        one.sendall(len(body).to_bytes(4, "big") + body)
        found = b""
        while len(found) < len(body) + 4:
            found += one.recv(100)
    relay.close()
    assert found[4:] == body.replace(here, b"127.0.0.1" + relay.port.to_bytes(4, "big"))
