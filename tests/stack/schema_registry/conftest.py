"""One secure registry for the session, a schema in it, and gateways in front of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sink_runner.config.reader import SettingsReader
from sink_runner.config.registry import Registry
from sink_runner.schema_registry.client import RegistryClient

from .gateway import Gateway, gateway
from .server import PASSWORD, USER, Server, running

SUBJECT = "secure.events-value"
Settings = Callable[..., Registry]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        settings = _read(found, url=found.url, username=USER, password=PASSWORD)
        body = json.dumps({"schema": '"string"'}).encode()
        path = f"/subjects/{SUBJECT}/versions"
        client = RegistryClient(settings)
        client.ask(path, seconds=30, method="POST", body=body)
        client.close()
        yield found


def _read(server: Server, **table: Any) -> Registry:
    """Read [registry] as from a file, with the server's authority."""
    if str(table["url"]).startswith("https"):
        table = {"ca_file": str(server.authority.file)} | table
    return SettingsReader(folder=server.authority.file.parent).read(Registry, table, "registry")


@pytest.fixture
def settings(server: Server) -> Settings:
    """Make settings for the server itself, or for another `url`."""

    def make(**table: Any) -> Registry:
        return _read(server, **{"url": server.url} | table)

    return make


@pytest.fixture
def gateways(server: Server) -> Iterator[Callable[..., Gateway]]:
    """Start gateways that end with the test."""
    with ExitStack() as stack:

        def start(*, tls: bool = True) -> Gateway:
            certificate = server.authority.issue("gateway") if tls else None
            return stack.enter_context(gateway(server.plaintext, certificate))

        yield start
