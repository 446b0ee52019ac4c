"""Uninstalls plugins whose folder was deleted, which installing the others does not do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import StackError

_GROUPS = "sink_runner.v"


def orphaned() -> list[str]:
    """The names of installed plugins whose folder is gone, in name order."""
    return sorted(set(_orphaned()))


def uninstall() -> list[str]:
    """Uninstall them, and return their names."""
    names = orphaned()
    if names:
        command = [sys.executable, "-m", "pip", "uninstall", "--yes", "--quiet", *names]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise StackError(
                f"the folders of {', '.join(names)} are gone, and pip could not uninstall them: "
                f"{completed.stderr.strip()}"
            )
    return names


def _orphaned() -> Iterator[str]:
    for distribution in distributions():
        groups = {entry.group for entry in distribution.entry_points}
        folder = _folder(distribution)
        plugin = any(group.startswith(_GROUPS) for group in groups)
        if plugin and folder is not None and not (folder / "pyproject.toml").exists():
            yield distribution.name


def _folder(distribution: Distribution) -> Path | None:
    """The folder that an editable distribution is installed from (PEP 610)."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(origin["url"])
        editable = origin["dir_info"]["editable"]
    except (ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)) if editable and url.scheme == "file" else None
