"""The versions of the runner and of its plugins, as metrics."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from ..loading import discovery
from ..model.status import Health


def show_versions(health: Health, plugins: Iterable[discovery.Plugin]) -> None:
    """Register the metrics of the runner's version and of those of its plugins."""
    build = health.gauge(
        "sink_build_info", "1; the runner's version is a label.", ("version", "python")
    )
    build.labels(runner_version(), platform.python_version()).set(1)
    installed = health.gauge(
        "sink_plugin_info",
        "1 for each plugin that is on; `mapping` is empty where it has none.",
        ("mapping", "plugin", "version"),
    )
    for one in plugins:
        mapping = one.name if one.mapping is not None else ""
        installed.labels(mapping, one.distribution or one.name, one.version).set(1)


def runner_version() -> str:
    """Return the version of the installed runner."""
    try:
        return version(discovery.RUNNER)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
