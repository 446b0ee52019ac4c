"""Does any broker answer?  A producer only learns of it by failing, and leaves its sockets open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress


def answers(bootstrap: str, seconds: float) -> bool:
    """Whether one of the brokers to ask first accepts a connection now."""
    for host, port in _brokers(bootstrap):
        with suppress(OSError), socket.create_connection((host, port), seconds):
            return True
    return False


def _brokers(bootstrap: str) -> Iterator[tuple[str, int]]:
    for broker in bootstrap.split(","):
        host, _, port = broker.strip().rpartition(":")
        yield host.strip("[]"), int(port)
