"""Decide which plugins may run while others cannot be loaded.

A plugin that cannot be loaded is quarantined: it is reported and left out.  A global plugin joins
every mapping, and its hooks may mask columns; no mapping may run without it, so a global plugin
that cannot be loaded quarantines every mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from .. import hookspecs
from ..errors import ConfigError
from .discovery import Plugin, Status

_REMEDY = (
    "repair it, or turn it off with [plugins] disabled, SINK_PLUGINS_OFF or --without, or "
    "uninstall it"
)
_API_HOOKS = frozenset({"sink_api", "sink_config"})
_MAPPING_HOOKS = re.compile(
    "|".join({name for name in vars(hookspecs) if name.startswith("sink_")} - _API_HOOKS)
)
_STAR_IMPORT = re.compile(r"^\s*from\s+\.[\w.]*\s+import\s+\*", re.MULTILINE)
_PARENTHESES = re.compile(r"\bimport\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Selection:
    """The plugins that may run, and the reason for each that may not."""

    usable: Sequence[Plugin]
    quarantined: Mapping[str, str]

    def faults(self) -> list[str]:
        return [f"plugin {name!r}: {reason}" for name, reason in sorted(self.quarantined.items())]


def loaded(plugins: Iterable[Plugin]) -> list[Plugin]:
    """Return the plugins that are on and could be loaded, even if they may not run."""
    return [plugin for plugin in plugins if plugin.status is Status.ON]


def select_usable(plugins: Iterable[Plugin]) -> Selection:
    """Return the plugins that may run, and why the others that are on may not."""
    plugins = list(plugins)
    broken = {plugin.name: "; ".join(plugin.errors) for plugin in plugins if plugin.errors}
    blocking = [plugin for plugin in plugins if plugin.errors and may_be_global(plugin)]
    if not blocking:
        return Selection(loaded(plugins), broken)
    reason = "; ".join(_describe_block(plugin) for plugin in blocking)
    mappings = {plugin.name: reason for plugin in loaded(plugins) if plugin.mapping is not None}
    others = [plugin for plugin in loaded(plugins) if plugin.mapping is None]
    return Selection(others, {**mappings, **broken})


def require_usable(plugin: Plugin, plugins: Iterable[Plugin]) -> list[Plugin]:
    """Return the plugins that may run; raise ConfigError if `plugin` is not one of them."""
    selection = select_usable(plugins)
    if reason := selection.quarantined.get(plugin.name):
        raise ConfigError(f"plugin {plugin.name!r}: {reason}")
    return list(selection.usable)


def may_be_global(plugin: Plugin) -> bool:
    """Whether a plugin that cannot be loaded may have hooks that join every mapping.

    The plugin's source code is read, not imported: it is a mapping if it declares `sink_mapping`,
    and it has only routes if it declares `sink_api` and names no other hook.  Where the source
    cannot be found, the answer is True.
    """
    if plugin.mapping is not None or "sink_mapping" in plugin.hooks:
        return False
    if plugin.hooks:
        return "sink_api" not in plugin.hooks or not _API_HOOKS.issuperset(plugin.hooks)
    texts = [_read_text(path) for point in plugin.entry_points for path in _files_of(point.module)]
    if any(_declares("sink_mapping", text) for text in texts):
        return False
    has_routes = any(_declares("sink_api", text) for text in texts)
    return not has_routes or any(_MAPPING_HOOKS.search(text) for text in texts)


def _describe_block(plugin: Plugin) -> str:
    fault = "; ".join(plugin.errors)
    return (
        f"global plugin {plugin.name!r} cannot be loaded ({fault}); it takes part in every "
        f"mapping, so no mapping runs without it: {_REMEDY}"
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _declares(hook: str, text: str) -> bool:
    one_line = _PARENTHESES.sub(lambda found: "import " + " ".join(found[1].split()), text)
    declaration = rf"""^[^#\n]*(?:\bdef\s+{hook}\b
                                |\b{hook}\s*(?::[^=\n]+)?=(?!=)
                                |\bimport\b[^#\n]*\b{hook}\b
                                |\bspecname\s*=\s*["']{hook}["'])"""
    return re.search(declaration, one_line, re.MULTILINE | re.VERBOSE) is not None


def _files_of(module: str) -> list[Path]:
    """Return the files that hold a module's code, without importing it or its parents."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
        for number, _ in enumerate(rest):
            if spec is None or spec.submodule_search_locations is None:
                return []
            name = ".".join([top, *rest[: number + 1]])
            spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None or spec.origin is None:
        return []
    found = Path(spec.origin)
    return [found, *_star_imported(found)]


def _star_imported(path: Path) -> Iterable[Path]:
    """Return a package's other files if its `__init__` imports ``*`` from one of them."""
    if path.name != "__init__.py" or not _STAR_IMPORT.search(_read_text(path)):
        return []
    return sorted(path.parent.rglob("*.py"))
