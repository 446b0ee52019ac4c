"""All groups of checks of a deployment, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..loading.discovery import Plugin
from ..loading.quarantine import select_usable
from ..model.findings import Fault, Finding
from .check_group import CheckGroup
from .database_checks import database_group
from .deployment import Deployment
from .mapping_checks import mapping_group
from .service_checks import kafka_group, policies_group, registry_group
from .setting_checks import settings_group


def groups(deployment: Deployment) -> Iterator[CheckGroup]:
    """Yield the groups; servers precede the mappings, which need them."""
    yield settings_group(deployment)
    yield plugins_group(deployment.plugins)
    for name in deployment.databases():
        yield database_group(name, deployment)
    yield kafka_group(deployment)
    yield registry_group(deployment)
    yield policies_group(deployment)
    for name, mapping in deployment.mappings.items():
        yield mapping_group(name, mapping, deployment)


def plugins_group(plugins: Mapping[str, Plugin]) -> CheckGroup:
    """Return the check of the installed plugins that are on."""

    def find() -> Iterable[Finding]:
        for name, reason in sorted(select_usable(plugins.values()).quarantined.items()):
            fault = Fault(
                f"plugin {name!r} can't be used: {reason}",
                "a plugin that can be loaded",
                "repair it, or turn it off with [plugins] disabled",
            )
            yield Finding(mapping=name, check="plugins", fault=fault)

    return CheckGroup(name="plugins", checks={"plugins": find}, start="", correct="")


def unreadable_group(error: Exception) -> CheckGroup:
    """Return the group that reports a configuration that can't be read."""

    def find() -> Iterable[Fault]:
        raise error

    return CheckGroup(
        name="settings",
        checks={"settings": find},
        start="",
        correct="correct sink-runner.toml; `sink-runner config` has every setting",
    )
