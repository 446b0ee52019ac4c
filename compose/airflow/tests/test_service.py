"""Airflow as parts of the stack: its own scheduler runs a batch, and all of it ends on a signal."""

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from sink_stack import airflow, ports
from sink_stack.layout import Layout
from sink_stack.processes import Supervisor
from sink_stack.progress import Reporter

from .conftest import ROOT, RUNNER, configure

pytestmark = [pytest.mark.airflow, pytest.mark.postgres]

DAG = "sink.schemes.full"
SCHEME = """
INSERT INTO public.scheme_master (scheme_code, scheme_name, category, status)
VALUES ('WIDOW', 'Widow pension', 'SOCIAL_SECURITY', 'active') ON CONFLICT DO NOTHING
"""
# A run is too long at once, and one mapping runs every minute.
RULES = """
retries = 0
limit_minutes = 0.01
mappings.user-behavior.full = ["* * * * *"]
"""


@dataclass
class Served:
    """The running Airflow and its server's API."""

    airflow: airflow.Airflow
    supervisor: Supervisor
    token: str = field(default="", repr=False)

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.airflow.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log_in(self) -> None:
        (password,) = json.loads(self.airflow.passwords.read_text()).values()
        body = {"username": "admin", "password": password}
        self.token = self.call("POST", "/auth/token", body)["access_token"]

    def until(self, ready, seconds: float = 120):
        bound = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < bound, self.runs()
            time.sleep(0.5)
        return found

    def dag_runs(self) -> list[dict]:
        return self.call("GET", "/api/v2/dags/~/dagRuns")["dag_runs"]

    def runs(self) -> list[tuple[str, str, str]]:
        """What became of every run, for one who reads why a test failed."""
        return [(run["dag_id"], run["run_type"], run["state"]) for run in self.dag_runs()]

    def ended(self, dag: str) -> list[dict]:
        """Its runs that the scheduler began, and that succeeded."""
        how = {"dag_id": dag, "run_type": "scheduled", "state": "success"}
        return [run for run in self.dag_runs() if how.items() <= run.items()]

    def dags(self) -> list[dict]:
        return self.call("GET", "/api/v2/dags")["dags"]

    def trigger(self, dag: str) -> str:
        path = f"/api/v2/dags/{dag}/dagRuns"
        return self.call("POST", path, {"logical_date": None})["dag_run_id"]

    def state(self, dag: str, run: str) -> str:
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"]


@pytest.fixture(scope="module")
def served(environment, databases, tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    home = Layout(root=ROOT, home=folder, cache=folder)
    home.make()
    config = configure(folder, RULES)
    made = airflow.Airflow(
        layout=home,
        environment=environment,
        runner=RUNNER,
        port=ports.any_free(frozenset()),
        exported={**databases, "SINK_CONFIG": str(config)},
    )
    supervisor = Supervisor(home)
    try:
        made.up(supervisor, Reporter())
        found = Served(made, supervisor)
        found.log_in()
        yield found
    finally:
        groups = [one.pid for name in airflow.PARTS if (one := supervisor.running(name))]
        supervisor.stop(*airflow.PARTS)
        assert [pid for group in groups for pid in members(group)] == []


def test_scheduler_runs_batch_in_pool_of_target(served, databases):
    with psycopg.connect(databases["STACK_SMART_WAREHOUSE_ADMIN_DSN"]) as warehouse:
        warehouse.execute(SCHEME)
    served.until(lambda: DAG in [dag["dag_id"] for dag in served.dags()])
    assert not [dag["dag_id"] for dag in served.dags() if dag["is_paused"]]
    assert served.call("GET", "/api/v2/importErrors")["total_entries"] == 0
    run = served.trigger(DAG)
    served.until(lambda: served.state(DAG, run) in ("success", "failed"))
    assert served.state(DAG, run) == "success"
    (task,) = served.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances")[
        "task_instances"
    ]
    assert (task["pool"], task["pool_slots"]) == ("smart_citizen.public.schemes", 1)
    with psycopg.connect(databases["STACK_SMART_CITIZEN_ADMIN_DSN"]) as citizen:
        assert ("WIDOW",) in citizen.execute("SELECT code FROM public.schemes").fetchall()


def test_password_is_in_a_file_and_no_log(served):
    (password,) = json.loads(served.airflow.passwords.read_text()).values()
    assert served.airflow.passwords.stat().st_mode & 0o077 == 0
    assert password not in texts(served.airflow.home, served.airflow.layout.log("airflow-api"))


def test_its_scheduler_starts_runs_that_are_due(served):
    run, *_ = served.until(lambda: served.ended("sink.user-behavior.full"), seconds=180)
    assert run["logical_date"].endswith(":00Z")


def test_triggerer_reports_run_that_takes_too_long(served):
    """Here all of them do: the limit is less than a second."""
    run = served.trigger("sink.feedback")
    log = served.airflow.layout.log("airflow-triggerer")
    reported = "batch_slow mapping=feedback mode=changed longer_than=limit minutes=0.01"
    served.until(lambda: reported in texts(served.airflow.home, log))
    served.until(lambda: served.state("sink.feedback", run) == "success")


def texts(home: Path, log: Path) -> str:
    """What the triggerer wrote, wherever Airflow keeps that."""
    files = [log, *home.glob("logs/**/*.log")]
    return "".join(path.read_text(errors="replace") for path in files)


def test_it_is_reached_on_the_loopback_only(served):
    assert socket.create_connection(("127.0.0.1", served.airflow.port)).close() is None
    pids = [pid for name in airflow.PARTS for pid in members(served.supervisor.running(name).pid)]
    assert len(pids) > len(airflow.PARTS)
    addresses = {address for pid in pids for address in listening(pid)}
    assert addresses == {"0100007F"}


def test_a_second_up_changes_nothing(served):
    before = {name: served.supervisor.running(name).pid for name in airflow.PARTS}
    served.airflow.up(served.supervisor, Reporter())
    assert {name: served.supervisor.running(name).pid for name in airflow.PARTS} == before


def members(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def listening(pid: int) -> set[str]:
    """The addresses that a process listens on, as the kernel writes them."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            sockets.add(str(link.readlink()))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].rpartition(":")[0])
    return found
