"""Apache Airflow as parts of the stack: an environment of its own, processes on the loopback.

`airflow standalone` is not used: it serves logs on every interface, and leaves child processes
behind when it is stopped.
"""

import hashlib
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import PartDiedError, StackError
from .layout import Layout
from .processes import Command, Supervisor
from .progress import Reporter

FOLDER = Path("compose", "airflow")
ENVIRONMENT = ".airflow-venv"
PARTS = ("airflow-api", "airflow-scheduler", "airflow-dags", "airflow-triggerer")
REQUIREMENTS = FOLDER / "requirements.txt"
_USER = "admin"
_READY_SECONDS = 180
_HEALTH_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Airflow:
    """One installation of Airflow with the DAGs of this repository, in one home."""

    layout: Layout
    environment: Path
    runner: Path
    port: int
    exported: Mapping[str, str] = field(repr=False)
    """What `sink-runner` needs to reach the stack."""

    @property
    def home(self) -> Path:
        return self.layout.home / "airflow"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def passwords(self) -> Path:
        """Where the password of Airflow's only user, `admin`, is."""
        return self.home / "passwords.json"

    def variables(self) -> dict[str, str]:
        """The environment of every Airflow process."""
        folder = self.layout.root / FOLDER
        return {
            "SINK_CONFIG": str(self.layout.root / "sink-runner.toml"),
            **self.exported,
            "SINK_RUNNER": str(self.runner),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{_USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.passwords),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def commands(self) -> list[Command]:
        """The four processes."""
        argv = {
            "airflow-api": ("api-server", "--host", "127.0.0.1", "--port", str(self.port)),
            "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
            "airflow-dags": ("dag-processor",),
            "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
        }
        return [
            Command(
                name=name,
                argv=[str(self.environment / "bin" / "airflow"), *argv[name]],
                cwd=self.layout.root,
                env=self.variables(),
                watched_files=self._watched_files(),
                stop_all=True,
            )
            for name in PARTS
        ]

    def prepare(self) -> None:
        """Make or upgrade Airflow's own database, and a pool for each target table."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._make_password()
        self._airflow("db", "migrate")
        pools = self.home / "sink-pools.json"
        fresh = self.home / "sink-pools.new.json"
        fresh.write_text(self._pools(), encoding="utf-8")
        if not pools.exists() or pools.read_bytes() != fresh.read_bytes():
            self._airflow("pools", "import", str(fresh))
        fresh.rename(pools)

    def up(self, supervisor: Supervisor, reporter: Reporter) -> None:
        """Start what does not run, and wait until all of it answers."""
        commands = self.commands()
        if all(supervisor.current(command) for command in commands):
            return
        self.prepare()
        try:
            for command in commands:
                supervisor.ensure(command)
            supervisor.wait_until("airflow-api", self.healthy, _READY_SECONDS)
        except PartDiedError:
            supervisor.stop(*PARTS)  # half of it would start batches that no user interface shows
            raise
        reporter.step(f"Airflow is up at {self.url}, user {_USER}, password in {self.passwords}")

    def healthy(self) -> bool:
        """Whether the server, the scheduler, the DAG processor and the triggerer are healthy."""
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own address
                f"{self.url}/api/v2/monitor/health", timeout=_HEALTH_SECONDS
            ) as answer:
                report = json.load(answer)
        except (OSError, ValueError):
            return False
        return all(part["status"] == "healthy" for part in report.values())

    def _make_password(self) -> None:
        """Airflow would make one as well, but write it to its log."""
        if not self.passwords.exists():
            self.passwords.touch(mode=0o600)
            passwords = json.dumps({_USER: secrets.token_urlsafe(16)})
            self.passwords.write_text(passwords, encoding="ascii")

    def _watched_files(self) -> tuple[Path, ...]:
        return tuple(sorted((self.layout.root / FOLDER / "plugins").glob("*.py")))

    def _pools(self) -> str:
        script = self.layout.root / FOLDER / "pools.py"
        return self._output([str(self.environment / "bin" / "python"), str(script)])

    def _airflow(self, *arguments: str) -> None:
        self._output([str(self.environment / "bin" / "airflow"), *arguments])

    def _output(self, argv: list[str]) -> str:
        environ = {**os.environ, **self.variables()}
        completed = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise StackError(f"{Path(argv[0]).name} {argv[1]} failed:\n{completed.stderr[-2000:]}")
        return completed.stdout


def install(layout: Layout, environment: Path, reporter: Reporter) -> None:
    """Install Airflow, unless the environment has the pinned packages."""
    requirements = layout.root / REQUIREMENTS
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    mark = environment / ".installed"
    if mark.exists() and mark.read_text(encoding="ascii") == digest:
        return
    environment.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    with reporter.downloading("fetching Airflow", environment):
        for argv in (
            [sys.executable, "-m", "venv", "--clear", str(environment)],
            [*pip, "--require-hashes", "-r", str(requirements)],
        ):
            completed = subprocess.run(argv, capture_output=True, text=True, check=False)
            if completed.returncode:
                raise StackError(f"Airflow could not be installed:\n{completed.stderr[-2000:]}")
    mark.write_text(digest, encoding="ascii")


def version(layout: Layout) -> str:
    """Return the version of Airflow that compose/airflow pins."""
    for line in (layout.root / REQUIREMENTS).read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("==")
        if name == "apache-airflow":
            return pinned.rstrip(" \\")
    raise StackError("compose/airflow/requirements.txt pins no apache-airflow")
