"""The real Airflow in an environment of its own, which is kept for the next time."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sink_stack import airflow, layout
from sink_stack.progress import Reporter
from sink_stack.stack import sink_runner

ROOT = Path(__file__).parents[3]
RUNNER = Path(*sink_runner())
PLUGIN = """
from sink_runner.plugin import Column, Schedule, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.public.{name}",
        target="smart_citizen.public.{name}",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
        schedules={schedules},
    )
"""


@pytest.fixture(scope="session")
def environment() -> Path:
    """Where Airflow is installed; the requirements are part of the folder's name."""
    found = layout.find(os.environ)
    digest = hashlib.sha256((found.root / airflow.REQUIREMENTS).read_bytes()).hexdigest()
    folder = found.programs / f"airflow-{digest[:12]}"
    found.programs.mkdir(parents=True, exist_ok=True)
    with (found.cache / "airflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        airflow.install(found, folder, Reporter())
    return folder


@dataclass
class Completed:
    code: int
    out: str
    err: str

    @property
    def answer(self):
        """The JSON of the last line; what Airflow logs comes before."""
        assert self.code == 0, self.err[-3000:] or self.out[-3000:]
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Home:
    """An Airflow with a database and variables of its own, and a site with plugins."""

    environment: Path
    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site.mkdir(parents=True, exist_ok=True)
        # Counts how often it is called, and finds the plugins of the site besides the installed.
        self.runner("exec " + f'"{RUNNER}" "$@"')

    @property
    def layout(self) -> layout.Layout:
        return layout.Layout(root=ROOT, home=self.folder, cache=self.folder)

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def requested(self) -> list[str]:
        log = self.folder / "requested"
        return log.read_text().splitlines() if log.exists() else []

    def runner(self, line: str) -> None:
        """Make a `sink-runner` of one line of shell."""
        path = self.folder / "sink-runner"
        path.write_text(
            f'#!/bin/sh\necho "$1" >> "{self.folder}/requested"\n'
            f'PYTHONPATH="{self.site}"; export PYTHONPATH\n{line}\n'
        )
        path.chmod(0o755)

    def plugin(self, name: str, schedules: str, code: str = "") -> None:
        """Install a plugin as pip would leave it."""
        info = self.site / f"sink_{name}-1.0.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: sink-{name}", "Version: 1.0", "", f"# {name}"]
        (info / "METADATA").write_text("\n".join(lines))
        (info / "entry_points.txt").write_text(f"[sink_runner.v1]\n{name} = sink_{name}\n")
        (self.site / f"sink_{name}.py").write_text(
            code or PLUGIN.format(name=name, schedules=schedules)
        )

    @property
    def variables(self) -> dict[str, str]:
        made = airflow.Airflow(
            layout=self.layout,
            environment=self.environment,
            runner=self.folder / "sink-runner",
            port=1,
            exported=self.more,
        )
        return {**made.variables(), "SINK_DEADLINES": "off"} | self.more

    def script(self, code: str, seconds: int = 120, **more: str) -> Completed:
        """Run Python inside Airflow's environment, with Airflow's own paths set."""
        before = "import airflow.plugins_manager\n"
        argv = [str(self.environment / "bin" / "python"), "-c", before + textwrap.dedent(code)]
        return self._run(argv, seconds, more)

    def airflow(self, *arguments: str, seconds: int = 120) -> Completed:
        return self._run([str(self.environment / "bin" / "airflow"), *arguments], seconds, {})

    def _run(self, argv: list[str], seconds: int, more: Mapping[str, str]) -> Completed:
        child = subprocess.Popen(
            argv,
            env={**os.environ, **self.variables, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # what is started inside ends with it
        )
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        return Completed(child.returncode, out, err)


@pytest.fixture
def home(environment, tmp_path) -> Home:
    """An Airflow without a database: enough to read DAGs."""
    return Home(environment, tmp_path)


@pytest.fixture(scope="module")
def databases(postgres) -> dict[str, str]:
    """The variables for `sink-runner`, with fresh databases and no Kafka."""
    found = {
        "SINK_KAFKA": "127.0.0.1:1",
        "SINK_REGISTRY": "http://127.0.0.1:1",
        "SINK_DEAD_LETTER_KEY": "A" * 43 + "=",
        "SINK_DEAD_LETTER_KEY_ID": "test",
    }
    for database in ("smart_warehouse", "smart_citizen"):
        name, fresh = database.upper(), postgres.fresh_database(database)
        found[f"SINK_{name}_DSN"] = postgres.dsn(fresh, "sink_writer")
        found[f"SINK_{name}_READER_DSN"] = postgres.dsn(fresh, "sink_reader")
        found[f"STACK_{name}_ADMIN_DSN"] = postgres.dsn(fresh)
    return found


@pytest.fixture
def migrated(environment, tmp_path, databases) -> Home:
    """An Airflow with its own database, whose tasks reach real databases."""
    config = configure(tmp_path, "retries = 0")  # a test waits for no retry
    made = Home(environment, tmp_path, {**databases, "SINK_CONFIG": str(config)})
    assert made.airflow("db", "migrate").code == 0
    return made


def configure(folder: Path, rules: str) -> Path:
    """The repository's configuration, with other rules of scheduling."""
    text = (ROOT / "sink-runner.toml").read_text()
    text = text.replace('"ranger-policies"', f'"{ROOT}/ranger-policies"')
    path = folder / "sink-runner.toml"
    path.write_text(text.replace("[schedule]\n", f"[schedule]\n{rules}\n"))
    return path
