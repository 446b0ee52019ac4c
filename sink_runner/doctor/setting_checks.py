"""The checks of the configuration alone: settings that contradict one another, ports, files."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

from cryptography.x509 import load_pem_x509_certificates as load_certificates

from ..health.client import read_states
from ..model.findings import Fault
from .check_group import CheckGroup
from .deployment import Deployment

_HOURS = 24
_DAY_SECONDS = 86_400
_CERTIFICATE_DAYS = 14


def settings_group(deployment: Deployment) -> CheckGroup:
    """Return the checks of a configuration that could be read."""
    return CheckGroup(
        name="settings",
        checks={check: partial(find, deployment) for check, find in CHECKS.items()},
        start="",
        correct="correct sink-runner.toml; `sink-runner config` has every setting",
    )


def check_retention(deployment: Deployment) -> Iterator[Fault]:
    """Find a tombstone that ends before the events that it has to reject."""
    config = deployment.config
    deferred_days = config.waiting.give_up_hours / _HOURS
    if config.remember_deletes_days < deferred_days:
        yield Fault(
            f"remember_deletes_days is {config.remember_deletes_days:g}, and an event may be "
            f"deferred for {deferred_days:g} days (waiting.give_up_hours): a deleted row would "
            "return when its event is applied after that",
            "tombstones that are kept for longer than an event may wait",
            f"remember_deletes_days = {2 * deferred_days:g} at the top of sink-runner.toml",
        )


def check_mapping_names(deployment: Deployment) -> Iterator[Fault]:
    """Find sections for mappings that are not installed: their settings have no effect."""
    config, plugins = deployment.config, deployment.plugins
    for section, names in (
        ("quality.mappings", config.quality.mappings),
        ("schedule.mappings", config.schedule.mappings),
    ):
        for name in sorted(names.keys() - plugins.keys()):
            yield Fault(
                f"[{section}.{name}]: no plugin has this name, so the section has no effect",
                f"one of {', '.join(sorted(plugins))}",
                f"correct the name of [{section}.{name}] in sink-runner.toml, or delete it",
                refused=False,
            )


def check_databases(deployment: Deployment) -> Iterator[Fault]:
    """Find two names of one database: a mapping would read what it writes."""
    seen: dict[str, str] = {}
    for name, database in deployment.config.databases.items():
        other = seen.setdefault(database.dsn.read(), name)
        if other != name:
            yield Fault(
                f"dsn of [databases.{name}] is that of [databases.{other}]: a mapping between them "
                "writes to its own source",
                "a database of its own for each name",
                f"correct dsn in [databases.{name}]",
            )


def check_ports(deployment: Deployment) -> Iterator[Fault]:
    """Find a port that another program, or another part of the runner, uses."""
    config = deployment.config
    health, api = config.health, config.api
    if not health.port:
        return
    if api is not None and (api.host, api.port) == (health.host, health.port):
        yield Fault(
            f"health.port and api.port are both {health.port}: the one that starts second fails",
            "two ports",
            f"port = {health.port + 1} in [health]",
        )
    elif read_states(health) is None and not _is_free(health.host, health.port):
        yield Fault(
            f"another program listens on {health.host}:{health.port}, the address in [health]: the "
            "runner does not start",
            "a free port",
            f"end that program (ss -ltnp 'sport = :{health.port}'), or set another port in "
            "[health]",
        )


def check_certificates(deployment: Deployment) -> Iterator[Fault]:
    """Find certificates of this client that end soon: then every connection is refused."""
    config = deployment.config
    files = {
        "kafka.security": config.kafka.security.certificate_file,
        "registry": config.registry.certificate_file,
        "policies": config.policies.certificate_file,
    }
    for section, file in files.items():
        if file is None:
            continue
        ends = min(one.not_valid_after_utc for one in load_certificates(file.read_bytes()))
        days = (ends - datetime.now(UTC)).total_seconds() / _DAY_SECONDS
        if days < _CERTIFICATE_DAYS:
            yield Fault(
                f"{section}.certificate_file {file} is valid until {ends:%Y-%m-%d %H:%M} UTC: "
                "after that the server refuses the runner",
                f"a certificate for {_CERTIFICATE_DAYS} days or more",
                f"renew it; openssl x509 -enddate -noout -in {file} prints its end. The runner "
                "reads it again without a restart",
                refused=days <= 0,
            )


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


CHECKS: Mapping[str, Callable[[Deployment], Iterable[Fault]]] = {
    "retention": check_retention,
    "mapping_names": check_mapping_names,
    "databases": check_databases,
    "ports": check_ports,
    "certificates": check_certificates,
}
"""In the order of the report."""
