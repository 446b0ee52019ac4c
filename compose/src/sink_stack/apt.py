"""Installs or unpacks the few programs that come from Debian's packages."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .checksums import verify
from .errors import StackError


def ensure_installed(program: str, package: str, log: Path) -> str:
    """Return the path of a program; if it is missing and the user is root, apt installs it.

    apt's output goes to `log`.  Raises StackError, which says how to install the package.
    """
    if found := _find(program):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StackError(
            f"program {program} is missing: install it (`apt-get install {package}`,"
            f" `brew install {package}`) and run this again"
        )
    with log.open("ab") as stream:
        _apt(stream, "update")
        _apt(stream, "install", "-y", "--no-install-recommends", package)
    if found := _find(program):
        return found
    raise StackError(f"apt-get could not install {package}: see {log}")


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages are downloaded to, the file with their sums, and the log of apt-get."""

    downloads: Path
    checksums: Path
    log: Path


def unpack(package: Package, source: Source, target: Path) -> None:
    """Download a package and unpack it into `target`, without installing it.

    So no privilege is needed, no service is started, and a version that the system has stays.
    """
    path = _download(package, source.downloads, source.log)
    verify([path], source.checksums, source.downloads)
    subprocess.run(["dpkg-deb", "--extract", path, target], check=True)
    path.unlink()


def _download(package: Package, downloads: Path, log: Path) -> Path:
    for update in (False, True) if shutil.which("apt-get") else ():
        with log.open("ab") as stream:
            if update:  # the lists of packages may be old
                _apt(stream, "update")
            _apt(stream, "download", f"{package.name}={package.version}", cwd=downloads)
        if found := sorted(downloads.glob(f"{package.name}_{package.version}_*.deb")):
            return found[0]
    raise StackError(
        f"apt-get could not download {package.name} {package.version} (see {log}): Debian 12 and"
        " its relatives have it; elsewhere run `STACK=compose make monitoring`"
    )


def _find(program: str) -> str | None:
    # Debian puts servers into a folder that is on root's path only.
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def _apt(stream: BinaryIO, *arguments: str, cwd: Path | None = None) -> None:
    subprocess.run(
        ["apt-get", "-q", *arguments],
        stdout=stream,
        stderr=stream,
        cwd=cwd,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
