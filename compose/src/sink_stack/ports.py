"""Chooses the ports of the stack, and names the process that has a taken one."""

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from .errors import PortTakenError

PREFERRED = {
    "postgres": 25432,
    "kafka": 29092,
    "kafka_controller": 29093,
    "registry": 28081,
    "registry_management": 28082,
    "warehouse": 28091,
    "citizen": 28092,
    "api": 28093,
    "health": 28094,
    "airflow": 28080,
    "prometheus": 28095,
    "alertmanager": 28096,
    "grafana": 28097,
}
_LISTENING = "0A"
# Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range), as every
# preferred port is: a start fails where a connection of another program has the port.
_QUIET_RANGE = range(20000, 28000)


def choose(
    name: str, *, environ: Mapping[str, str], remembered: int | None, in_use: frozenset[int]
) -> int:
    """Return a free port for a part: the user's, else the one it had before, else any.

    `in_use` are the ports already given to other parts of this stack.
    """
    variable = f"SINK_STACK_PORT_{name.upper()}"
    if text := environ.get(variable):
        return _fixed(variable, text, in_use)
    wanted = remembered or PREFERRED[name]
    if wanted not in in_use and is_free(wanted):
        return wanted
    return any_free(in_use)


def _fixed(variable: str, text: str, in_use: frozenset[int]) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:  # noqa: PLR2004
        raise PortTakenError(f"{variable}={text}: expected a port number")
    port = int(text)
    if port in in_use:
        raise PortTakenError(f"port {port} ({variable}) is already given to another part")
    if not is_free(port):
        raise PortTakenError(f"port {port} ({variable}) is taken by {holder(port)}")
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server does: connections of an earlier run that are closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def any_free(in_use: frozenset[int]) -> int:
    """A free port that stays free until its part binds it, some seconds later.

    It is chosen at random: the port that the system offers is in the range of outgoing connections,
    and a second stack that starts at the same time would get the same one.
    """
    while True:
        port = secrets.choice(_QUIET_RANGE)
        if port not in in_use and is_free(port):
            return port


def holder(port: int) -> str:
    """The process that listens on a port, as far as this user may see."""
    inodes = _listening_inodes(port)
    for folder in Path("/proc").glob("[0-9]*/fd"):
        if inodes & _socket_inodes(folder):
            pid = folder.parent.name
            return f"process {pid} ({_command(folder.parent)})"
    return "another process"


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            local_port = int(fields[1].rpartition(":")[2], 16)
            if local_port == port and fields[3] == _LISTENING:
                inodes.add(fields[9])
    return inodes


def _socket_inodes(folder: Path) -> set[str]:
    inodes = set()
    try:
        for link in folder.iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
    except OSError:
        pass  # another user's process, or one that just ended
    return inodes


def _command(folder: Path) -> str:
    """The program's name only: arguments may hold passwords."""
    try:
        return (folder / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "ended"
