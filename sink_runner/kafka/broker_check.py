"""Does any broker answer?  A producer only learns of it by failing, and leaves its sockets open."""

from __future__ import annotations

import socket
from contextlib import suppress

from .connection import KafkaConnection


def answers(connection: KafkaConnection, seconds: float) -> bool:
    """Whether one of the brokers to ask first accepts a connection now."""
    for address in connection.brokers():
        with suppress(OSError), socket.create_connection(address, seconds):
            return True
    return False
