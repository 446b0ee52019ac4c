"""One secure registry for the session, a schema in it, and gateways in front of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sink_runner.config.reader import SettingsReader
from sink_runner.config.registry import Registry
from sink_runner.schema_registry.client import RegistryClient

from .gateway import Gateway, run_gateway
from .server import PASSWORD, USER, Server, run_registry

SUBJECT = "secure.events-value"
Settings = Callable[..., Registry]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_registry(tmp_path_factory.mktemp("registry")) as registry:
        settings = _read_settings(registry, url=registry.url, username=USER, password=PASSWORD)
        body = json.dumps({"schema": '"string"'}).encode()
        path = f"/subjects/{SUBJECT}/versions"
        client = RegistryClient(settings)
        client.ask(path, seconds=30, method="POST", body=body)
        client.close()
        yield registry


def _read_settings(server: Server, **table: Any) -> Registry:
    """Read the settings of [registry], by default with the server's certificate authority."""
    if str(table["url"]).startswith("https"):
        table = {"ca_file": str(server.authority.file)} | table
    return SettingsReader(folder=server.authority.file.parent).read(Registry, table, "registry")


@pytest.fixture
def settings(server: Server) -> Settings:
    """Create settings for the server, or for another `url`."""

    def make(**table: Any) -> Registry:
        return _read_settings(server, **{"url": server.url} | table)

    return make


@pytest.fixture
def gateways(server: Server) -> Iterator[Callable[..., Gateway]]:
    """Start gateways that end with the test."""
    with ExitStack() as stack:

        def start(*, tls: bool = True) -> Gateway:
            certificate = server.authority.issue("gateway") if tls else None
            return stack.enter_context(run_gateway(server.plaintext, certificate))

        yield start
