"""A network that can be broken: a relay on loopback before one server.

Kafka tells its clients where it is, so its answers are rewritten: they name the relay's port.
"""

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace

_HOST = "127.0.0.1"
_CHUNK = 65536
_LOOK = 0.02
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, as a broken link ends


@dataclass(slots=True)
class Done:
    """What a relay has done so far."""

    carried: int = 0
    """Bytes that it passed on."""
    reset: int = 0
    """Connections that it ended because it was cut, and those that it refused."""
    held: int = 0
    """Bytes that came while it was stalled."""
    delayed: int = 0
    """Bytes that it passed on late."""


class Proxy:
    """Passes bytes on until it is told to cut, to stall or to be slow; counts what it did."""

    def __init__(self, server: int, *, kafka: bool = False) -> None:
        self._server = server
        self._listener = socket.create_server((_HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._names = (_address(server), _address(self.port)) if kafka else None
        self._open: set[tuple[socket.socket, socket.socket]] = set()
        self._done = Done()
        self._lock = threading.Lock()
        self._cut = False
        self._stalled = False
        self._delay = 0.0
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def done(self) -> Done:
        """As it is now: it does not change any more."""
        with self._lock:
            return replace(self._done)

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        with self._lock:
            self._cut = True
            self._done.reset += len(self._open)
            for pair in self._open:
                for one in pair:
                    _reset(one)

    def stall(self) -> None:
        """Keep the connections, and let nothing through, as a dead switch does."""
        self._stalled = True

    def slow(self, seconds: float) -> None:
        """Every piece takes so much longer."""
        self._delay = seconds

    def heal(self) -> None:
        self._cut = self._stalled = False
        self._delay = 0.0

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
        for one in pair:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._admitted(pair):
            for one in pair:
                _drop(one)
            return
        back = threading.Thread(target=self._pump, args=(server, client, self._names), daemon=True)
        back.start()
        self._pump(client, server, None)
        back.join()
        with self._lock:
            self._open.discard(pair)
        for one in pair:
            one.close()

    def _admitted(self, pair: tuple[socket.socket, socket.socket]) -> bool:
        """Whether the two may speak; a cut that comes now comes before or after this."""
        with self._lock:
            if self._cut:
                self._done.reset += 1
            else:
                self._open.add(pair)
            return not self._cut

    def _pump(
        self, source: socket.socket, sink: socket.socket, names: tuple[bytes, bytes] | None
    ) -> None:
        """One direction; the other ends with it."""
        with contextlib.suppress(OSError):
            while piece := (_frame(source, names) if names else source.recv(_CHUNK)):
                self._wait(len(piece))
                sink.sendall(piece)
                self._count(carried=len(piece))
        for one in (source, sink):
            _reset(one) if self._cut else _end(one)

    def _wait(self, size: int) -> None:
        """As long as so many bytes have to; some wait twice."""
        if delay := self._delay:
            time.sleep(delay)
            self._count(delayed=size)
        if self._stalled:
            self._count(held=size)
        while self._stalled and not self._cut:
            time.sleep(_LOOK)

    def _count(self, *, carried: int = 0, held: int = 0, delayed: int = 0) -> None:
        with self._lock:
            self._done.carried += carried
            self._done.held += held
            self._done.delayed += delayed


def _address(port: int) -> bytes:
    """A broker's host and port as Kafka's answers hold them, whatever their version."""
    return _HOST.encode() + struct.pack(">i", port)


def _frame(source: socket.socket, names: tuple[bytes, bytes]) -> bytes:
    head = _exactly(source, 4)
    return head + _exactly(source, struct.unpack(">i", head)[0]).replace(*names) if head else b""


def _exactly(source: socket.socket, size: int) -> bytes:
    parts, left = [], size
    while left:
        part = source.recv(min(left, _CHUNK))
        if not part:
            return b""
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _drop(one: socket.socket) -> None:
    _reset(one)
    one.close()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    _end(one)
