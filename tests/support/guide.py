"""Reads the example of README.md and docs/guide/databases.md, for the tests that run it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_GUIDE = (ROOT / "docs" / "guide" / "databases.md").read_text(encoding="utf-8")
PAGE = _GUIDE.partition("\n## The runner")[0]
_FILE = re.compile(r"in `([\w.-]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def files() -> dict[str, str]:
    """Return the files that the example has its reader create: text by name."""
    (plugin,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return {"orders.py": plugin, **dict(_FILE.findall(PAGE))}


def script() -> str:
    """Return the example's commands, in order, as one shell script."""
    lines = "".join(_CONSOLE.findall(PAGE)).splitlines(keepends=True)
    return "".join(line.removeprefix("$ ") for line in lines)


def variables() -> set[str]:
    """Return the names of the environment variables that the example needs."""
    table = PAGE[PAGE.index("| variable |") : PAGE.index("The tables, in")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
