"""Installs the packages of the stack, and if requested those of the tests, into .venv.

It runs before anything is installed, so it uses the standard library only.
"""

import hashlib
import json
import re
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

from .errors import StackError
from .progress import Reporter

_MEGABYTES = 60
_RUNTIME = "requirements.txt"
_TESTS = "requirements-dev.txt"
_PROJECTS = ("setup.cfg", "pyproject.toml", "compose/pyproject.toml")
_PIN = re.compile(r"^[\w.\[\]-]+==", re.MULTILINE)
_REQUIREMENT = re.compile(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)")


class Environment:
    """The virtual environment of one repository."""

    def __init__(self, root: Path, *, tests: bool) -> None:
        self._root = root
        self._files = [_RUNTIME, *([_TESTS] if tests else [])]
        self._folder = root / ".venv"
        self._state = self._folder / ".installed"

    @property
    def python(self) -> Path:
        return self._folder / "bin" / "python"

    def create(self) -> None:
        """Create it with pip as its only package."""
        venv.create(self._folder, with_pip=True, symlinks=True)

    def is_current(self) -> bool:
        """Whether it has all that the files of the repository require."""
        known = self._installed()
        return self.python.exists() and all(
            known.get(name) == digest for name, digest in self._digests().items()
        )

    def install(self, reporter: Reporter, log: Path) -> None:
        """Install the pinned packages, then ours and every plugin from their folders."""
        digests = self._digests()
        files = [part for name in self._files for part in ("-r", name)]
        own = [part for folder in self._own() for part in ("-e", folder)]
        reporter.step(self._purpose())
        with log.open("a", encoding="utf-8") as stream:
            progress = _PipProgress(
                sum(len(_PIN.findall(self._read(name))) for name in self._files)
            )
            with reporter.watching(progress.text):
                for line in self._pip(log, "install", "--require-hashes", *files):
                    stream.write(line)
                    progress.see(line)
            # Without isolation, the pinned setuptools builds our packages.
            with reporter.watching(lambda: "Python packages: this repository and its plugins"):
                without = ("--no-deps", "--no-build-isolation")
                stream.writelines(self._pip(log, "install", *without, *own))
            stream.writelines(self._pip(log, "check"))
        self._state.write_text(json.dumps({**self._installed(), **digests}), encoding="ascii")

    def _purpose(self) -> str:
        if self._installed():
            return f"bringing the Python packages in {self._folder} up to date"
        return f"{_MEGABYTES} MB of Python packages go to {self._folder}"

    def _pip(self, log: Path, *arguments: str) -> Iterator[str]:
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        with subprocess.Popen(
            command, cwd=self._root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip:
            assert pip.stdout is not None
            yield from pip.stdout
        if pip.returncode:
            raise StackError(f"pip {arguments[0]} failed: see {log}")

    def _own(self) -> list[str]:
        """The folders of our own packages; relative, so that a path may have blanks."""
        plugins = sorted(self._root.glob("plugins/*/pyproject.toml"))
        return [".", "compose", *(str(path.parent.relative_to(self._root)) for path in plugins)]

    def _digests(self) -> dict[str, str]:
        """Return for each requirements file a digest of all that determines its packages."""
        own = [f"{folder}/pyproject.toml" for folder in self._own()]
        names = sorted({*_PROJECTS, *own})
        projects = "".join(f"{name}\n{self._read(name)}" for name in names)
        return {name: _digest(projects + self._read(name)) for name in self._files}

    def _installed(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._state.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return {}

    def _pinned(self) -> int:
        return sum(len(_PIN.findall(self._read(name))) for name in self._files)

    def _read(self, name: str) -> str:
        return (self._root / name).read_text(encoding="utf-8")


class _PipProgress:
    """The progress of pip, read from its output."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._names: list[str] = []
        self._unpacking = False

    def see(self, line: str) -> None:
        if found := _REQUIREMENT.match(line):
            self._names.append(found[1])
        self._unpacking |= line.startswith("Installing collected packages")

    def text(self) -> str:
        now = "unpacking" if self._unpacking else (self._names or ["starting pip"])[-1]
        return f"Python packages: {len(self._names)} of {self._total}, {now}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
