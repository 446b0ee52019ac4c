"""KEY=VALUE files: readable by a shell, by Docker Compose and by us."""

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import StackError


def load(path: Path) -> dict[str, str]:
    """Read a file of KEY=VALUE lines; blank lines and comments are skipped."""
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise StackError(f"{path}:{number}: expected KEY=VALUE")
        values[key] = value
    return values


def save(path: Path, values: Mapping[str, str]) -> None:
    """Write atomically and readable by the owner only: the file holds passwords."""
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(path)
