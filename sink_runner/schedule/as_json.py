"""Describe the schedules as JSON, for a scheduler in another environment."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import ConfigFile
from ..config.sections import Scheduling
from ..loading.discovery import Plugin
from .plans import Plan


def describe(
    plans: Sequence[Plan], plugins: Mapping[str, Plugin], file: ConfigFile
) -> dict[str, Any]:
    """Return all that a scheduler needs; `depends_on` lists the files that it is derived from."""
    return {
        "rules": _describe_rules(file.scheduling()),
        "schedules": [_describe_plan(plan, plugins[plan.mapping]) for plan in plans],
        "errors": [
            f"plugin {plugin.name!r}: {error}"
            for plugin in plugins.values()
            for error in plugin.errors
        ],
        "depends_on": sorted({str(path) for path in _find_dependencies(file, plugins.values())}),
    }


def _describe_rules(settings: Scheduling) -> dict[str, Any]:
    return {
        "retries": settings.retries,
        "retry_seconds": settings.retry_minutes * 60,
        "limit_seconds": settings.limit_minutes * 60,
        "maintenance": settings.maintenance,
        "maintenance_seconds": settings.maintenance_minutes * 60,
    }


def _describe_plan(plan: Plan, plugin: Plugin) -> dict[str, Any]:
    return {
        "mapping": plan.mapping,
        "mode": plan.mode,
        "cron": plan.cron.expression,
        "source": plan.source,
        "target": plan.target,
        "pool": plan.pool,
        "expected_seconds": plan.expected.total_seconds(),
        "arguments": plan.arguments,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "readme": _readme(plugin),
    }


def _readme(plugin: Plugin) -> str:
    """Return the distribution's description, as Markdown."""
    dist = plugin.entry_points[0].dist
    return dist.metadata["Description"] if dist and "Description" in dist.metadata else ""


def _find_dependencies(file: ConfigFile, plugins: Iterable[Plugin]) -> Iterator[Path]:
    """Yield the configuration, the folders of sys.path, and the source files of the plugins.

    Installing a package changes the modification time of its folder.
    """
    if file.path is not None:
        yield file.path.resolve()
    yield from (Path(folder) for folder in sys.path if Path(folder).is_dir())
    for plugin in plugins:
        spec = importlib.util.find_spec(plugin.entry_points[0].module.partition(".")[0])
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or ():
            yield from Path(folder).rglob("*.py")
        if spec.origin:
            yield Path(spec.origin)
