"""Installs the few programs that come from the system's package manager."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import BinaryIO

from .errors import StackError


def ensure_installed(program: str, package: str, log: Path) -> str:
    """Return the path of a program, which apt installs where it is missing and may be installed.

    `log` gets what apt prints.  Raises StackError that says how to install the package.
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


def _find(program: str) -> str | None:
    # Debian puts servers into a folder that is on root's path only.
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def _apt(stream: BinaryIO, *arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-q", *arguments],
        stdout=stream,
        stderr=stream,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
