"""Choice of ports: the default, another free one, or an error."""

import os
import re
import socket
from pathlib import Path

import pytest
from sink_runner.config.api import Api

from sink_stack import ports
from sink_stack.errors import PortTakenError


@pytest.fixture
def occupied():
    """Return a port on which this process listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def free():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def choose(environ=None, remembered=None, in_use=()):
    return ports.choose(
        "kafka", environ=environ or {}, remembered=remembered, in_use=frozenset(in_use)
    )


def test_remembered_port_is_kept_while_it_is_free(free):
    assert choose(remembered=free) == free


def test_occupied_default_port_is_replaced(occupied):
    port = choose(remembered=occupied)
    assert port != occupied
    assert ports.is_free(port)


def test_port_is_not_assigned_twice(free):
    assert choose(remembered=free, in_use=[free]) != free


def test_configured_port_is_used(free):
    assert choose({"SINK_STACK_PORT_KAFKA": str(free)}, remembered=1) == free


def test_error_of_occupied_port_names_variable_and_process(occupied):
    with pytest.raises(PortTakenError) as caught:
        choose({"SINK_STACK_PORT_KAFKA": str(occupied)})
    assert str(occupied) in str(caught.value)
    assert "SINK_STACK_PORT_KAFKA" in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)


@pytest.mark.parametrize("text", ["kafka", "0", "70000", "-1"])
def test_value_that_is_not_a_port_is_refused(text):
    with pytest.raises(PortTakenError, match="expected a port number"):
        choose({"SINK_STACK_PORT_KAFKA": text})


def test_default_ports_differ():
    assert len(set(ports.PREFERRED.values())) == len(ports.PREFERRED)


def test_default_ports_are_outside_ephemeral_range():
    """Linux assigns ports from 32768 to 60999 to outgoing connections."""
    defaults = {*ports.PREFERRED.values(), *ports._QUIET_RANGE}
    assert min(defaults) > 1023
    assert max(defaults) < 32768
    kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert max(defaults) < int(kernel[0])


def test_default_ports_are_the_same_everywhere():
    compose = Path(__file__).parents[1] / "compose.yaml"
    found = re.findall(r"\$\{STACK_PORT_(\w+):-(\d+)\}", compose.read_text())
    assert {(name.lower(), int(port)) for name, port in found} == {
        (name, port)
        for name, port in ports.PREFERRED.items()
        if name not in ("kafka_controller", "registry_management")
    }
    assert Api.__dataclass_fields__["port"].default == ports.PREFERRED["api"]
