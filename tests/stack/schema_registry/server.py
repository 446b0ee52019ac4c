"""Starts the stack's registry with TLS and basic authentication on free loopback ports."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sink_stack import envfile, layout, ports
from sink_stack.layout import Layout
from sink_stack.programs import Installer
from sink_stack.progress import Reporter
from sink_stack.registry import Registry
from sink_stack.settings import Settings

from ...support.certificates import Authority

USER, PASSWORD = "sink", "correct horse ż"
_PROPERTIES = """quarkus.http.ssl-port={port}
quarkus.http.insecure-requests=enabled
quarkus.http.ssl.certificate.files={certificate}
quarkus.http.ssl.certificate.key-files={key}
quarkus.http.auth.basic=true
quarkus.http.auth.permission.all.paths=/*
quarkus.http.auth.permission.all.policy=authenticated
quarkus.security.users.embedded.plain-text=true
quarkus.security.users.embedded.users.{user}={password}
quarkus.security.users.embedded.roles.{user}=sr-admin
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The addresses of the registry, and the authority that signed its certificate."""

    url: str
    """Its Confluent-compatible API over TLS."""
    plaintext: int
    """The port without TLS, which requires the login as well."""
    authority: Authority


def write_properties(
    folder: Path, *, port: int, authority: Authority, user: str = USER, password: str = PASSWORD
) -> Path:
    """Write properties with which the registry listens with TLS and requires a login."""
    certificate, key = authority.issue("registry")
    path = folder / "registry.properties"
    path.write_text(
        _PROPERTIES.format(
            port=port, certificate=certificate, key=key, user=user, password=password
        )
    )
    return path


@contextmanager
def run_registry(folder: Path) -> Iterator[Server]:
    """Start a registry without schemas; stop it when the block is left."""
    directories = layout.find(os.environ)
    directories.make()
    versions = envfile.load(directories.root / "compose" / "versions.env")
    programs = Installer(directories, versions, os.environ).install(Reporter())
    free_ports: list[int] = []
    for _ in range(3):
        free_ports.append(ports.any_free(frozenset(free_ports)))
    plaintext, management, port = free_ports
    settings = Settings(
        {
            "STACK_PORT_REGISTRY": str(plaintext),
            "STACK_PORT_REGISTRY_MANAGEMENT": str(management),
        }
    )
    home = Layout(root=directories.root, home=folder, cache=directories.cache)
    command = Registry(home, settings, programs.java, programs.registry).command()
    authority = Authority(folder)
    properties = write_properties(folder, port=port, authority=authority)
    env = os.environ | command.env | {"QUARKUS_CONFIG_LOCATIONS": str(properties)}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            command.argv, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 90
            while not ports.answers(port):
                assert process.poll() is None, (folder / "registry.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield Server(
                url=f"https://127.0.0.1:{port}/apis/ccompat/v7",
                plaintext=plaintext,
                authority=authority,
            )
        finally:
            process.terminate()
            process.wait(20)
