"""A TCP proxy in front of one server, which can cut, stall or delay the connections.

A Kafka broker advertises its address to its clients, so the proxy replaces the broker's port with
its own in the responses.
"""

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace

_HOST = "127.0.0.1"
_CHUNK_BYTES = 65536
_POLL_SECONDS = 0.02
_LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0: close with RST, as a broken network


@dataclass(slots=True)
class ProxyStats:
    forwarded_bytes: int = 0
    reset_connections: int = 0
    """Connections that a cut ended or refused."""
    stalled_bytes: int = 0
    """Bytes that arrived during a stall."""
    delayed_bytes: int = 0


class Proxy:
    """Forwards bytes between clients and one server on loopback, and counts them."""

    def __init__(self, server: int, *, kafka: bool = False) -> None:
        self._server = server
        self._listener = socket.create_server((_HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._addresses = (_encode_address(server), _encode_address(self.port)) if kafka else None
        self._open: set[tuple[socket.socket, socket.socket]] = set()
        self._stats = ProxyStats()
        self._lock = threading.Lock()
        self._cut = False
        self._stalled = False
        self._delay_seconds = 0.0
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def stats(self) -> ProxyStats:
        """Return a copy of the current counts."""
        with self._lock:
            return replace(self._stats)

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        with self._lock:
            self._cut = True
            self._stats.reset_connections += len(self._open)
            for pair in self._open:
                for end in pair:
                    _reset(end)

    def stall(self) -> None:
        """Keep the connections open and forward nothing, as a failed switch would."""
        self._stalled = True

    def delay(self, seconds: float) -> None:
        """Forward every chunk this much later."""
        self._delay_seconds = seconds

    def restore(self) -> None:
        self._cut = self._stalled = False
        self._delay_seconds = 0.0

    def close(self) -> None:
        self._closed = True
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((_HOST, self._server), timeout=5)
        except OSError:
            _drop(client)
            return
        server.settimeout(None)
        pair = (client, server)
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._register(pair):
            for end in pair:
                _drop(end)
            return
        response_thread = threading.Thread(
            target=self._pump, args=(server, client, self._addresses), daemon=True
        )
        response_thread.start()
        self._pump(client, server, None)
        response_thread.join()
        with self._lock:
            self._open.discard(pair)
        for end in pair:
            end.close()

    def _register(self, pair: tuple[socket.socket, socket.socket]) -> bool:
        """Add the connection unless a cut is active; the lock orders this with `cut`."""
        with self._lock:
            if self._cut:
                self._stats.reset_connections += 1
            else:
                self._open.add(pair)
            return not self._cut

    def _pump(
        self, source: socket.socket, sink: socket.socket, addresses: tuple[bytes, bytes] | None
    ) -> None:
        """Forward one direction; when it ends, shut down the other direction as well."""
        with contextlib.suppress(OSError):
            while chunk := (
                _read_response(source, addresses) if addresses else source.recv(_CHUNK_BYTES)
            ):
                self._wait(len(chunk))
                sink.sendall(chunk)
                self._count(forwarded=len(chunk))
        for end in (source, sink):
            _reset(end) if self._cut else _shut_down(end)

    def _wait(self, size: int) -> None:
        """Wait until the delay and the stall have passed, and count the `size` bytes that wait."""
        if delay := self._delay_seconds:
            time.sleep(delay)
            self._count(delayed=size)
        if self._stalled:
            self._count(stalled=size)
        while self._stalled and not self._cut:
            time.sleep(_POLL_SECONDS)

    def _count(self, *, forwarded: int = 0, stalled: int = 0, delayed: int = 0) -> None:
        with self._lock:
            self._stats.forwarded_bytes += forwarded
            self._stats.stalled_bytes += stalled
            self._stats.delayed_bytes += delayed


def _encode_address(port: int) -> bytes:
    """Return a broker's host and port as every version of Kafka's protocol encodes them."""
    return _HOST.encode() + struct.pack(">i", port)


def _read_response(source: socket.socket, addresses: tuple[bytes, bytes]) -> bytes:
    """Read one Kafka response with the broker's address replaced; empty at the end."""
    size = _read_exactly(source, 4)
    if not size:
        return b""
    return size + _read_exactly(source, struct.unpack(">i", size)[0]).replace(*addresses)


def _read_exactly(source: socket.socket, size: int) -> bytes:
    parts, remaining = [], size
    while remaining:
        part = source.recv(min(remaining, _CHUNK_BYTES))
        if not part:
            return b""
        parts.append(part)
        remaining -= len(part)
    return b"".join(parts)


def _drop(end: socket.socket) -> None:
    _reset(end)
    end.close()


def _shut_down(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    _shut_down(end)
