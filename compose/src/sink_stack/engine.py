"""Runs the stack in Docker Compose, and chooses between containers and native processes."""

import os
import subprocess
from collections.abc import Mapping

from . import settings
from .errors import StackError
from .layout import Layout

WAYS = ("native", "compose")
MONITORING = ("prometheus", "alertmanager", "grafana")
"""Grafana is not in Debian's packages: the native stack does without it."""


def chosen(layout: Layout, environ: Mapping[str, str]) -> str:
    """Return $STACK, else how this home was started, else compose if a container engine answers."""
    if choice := environ.get("STACK"):
        if choice not in WAYS:
            raise StackError(f"STACK={choice}: expected native or compose")
        return choice
    if known := settings.load(layout):
        return "compose" if "STACK_COMPOSE" in known.values else "native"
    return "compose" if answers() else "native"


def answers() -> bool:
    """Whether a container engine answers this user."""
    try:
        import docker  # noqa: PLC0415 - the bootstrap asks before this package is installed
    except ModuleNotFoundError:
        return _command_answers()
    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except docker.errors.DockerException:
        return False
    finally:
        client.close()


def _command_answers() -> bool:
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Compose:
    """Docker Compose on compose/compose.yaml, with this home's ports and passwords."""

    def __init__(self, layout: Layout, environ: Mapping[str, str]) -> None:
        self._layout = layout
        self._environ = environ

    def up(self, *, with_runner: bool) -> None:
        self._layout.make()
        known = settings.load(self._layout)
        # Ports that a compose stack of this home holds are its own.
        ours = known is not None and "STACK_COMPOSE" in known.values
        prepared = settings.prepare(self._layout, self._environ, lambda _: ours)
        settings.remember(self._layout, prepared, STACK_COMPOSE="1")
        without = () if with_runner else ("runner", "api", "schedule")
        scale = [part for name in without for part in ("--scale", f"{name}=0")]
        self.run("up", "--detach", "--build", "--wait", *scale)

    def logs(self, part: str | None, lines: int, *, follow: bool) -> None:
        arguments = ["logs", "--tail", str(lines)]
        arguments += ["--follow"] if follow else []
        arguments += [part] if part else []
        self.run(*arguments)

    def run(self, *arguments: str) -> None:
        command = ["docker", "compose", *self.files(), *arguments]
        code = subprocess.run(command, env={**os.environ}, check=False).returncode
        if code:
            raise StackError(f"docker compose {' '.join(arguments)} ended with {code}")

    def files(self) -> list[str]:
        """The compose file with the pinned versions and this home's settings."""
        compose = self._layout.root / "compose"
        if not self._layout.settings.exists():
            raise StackError(f"there is no stack in {self._layout.home}: run `sink-stack up`")
        return [
            "--env-file",
            str(compose / "versions.env"),
            "--env-file",
            str(self._layout.settings),
            "--file",
            str(compose / "compose.yaml"),
        ]
