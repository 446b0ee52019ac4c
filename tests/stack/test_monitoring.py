"""Prometheus scrapes the runner of the real stack: panels show data, alerts fire and clear."""

import json
import re
import subprocess
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from sink_stack import monitoring
from sink_stack.monitoring import Monitoring
from sink_stack.progress import Reporter
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from . import demo_deployment

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PANELS = [
    (name, panel["title"], query)
    for name, dashboard in tomllib.loads(
        (ROOT / "compose" / "grafana" / "dashboards.toml").read_text(encoding="utf-8")
    ).items()
    for panel in dashboard["panels"]
    for query in panel["queries"].values()
]
# Each statement changes a captured row, so that the panels have recent events to show.
_CHANGES = {
    "smart_warehouse": "UPDATE golden_records SET full_name = full_name || 'a'",
    "smart_citizen": "UPDATE citizens SET full_name = full_name || 'a'",
}


def shorten(text: str) -> str:
    """Turn minutes, hours and days into seconds: ranges 10 s, offsets 5 s, and `for` 1 s."""
    text = re.sub(r"\[\d+[mhd]:\d+[smh]\]", "[10s:1s]", text)
    text = re.sub(r"\[(?:\d+[smhd]|\$__rate_interval)\]", "[10s]", text)
    text = re.sub(r"\boffset \d+[mhd]", "offset 5s", text)
    return re.sub(r"\bfor: \d+[smh]", "for: 1s", text)


@dataclass
class MonitoredStack:
    """The stack with its runner, Prometheus, and the notifications of Alertmanager."""

    stack: StackUnderTest
    prometheus: str
    sent: Queue[dict[str, Any]]

    def query(self, expression: str) -> list[Any]:
        """Return the series of an expression whose current value is a number."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?{query}") as response:
            found = json.load(response)["data"]["result"]
        return [series for series in found if series["value"][1] != "NaN"]

    def change(self) -> None:
        """Change a row in both databases."""
        for database, statement in _CHANGES.items():
            with self.stack.admin(database) as connection:
                connection.execute(statement.encode())

    def wait_for_alert(self, status: str, alert: str) -> dict[str, Any]:
        """Wait for the next alert with this name and status, and return it."""
        while True:
            for one in self.sent.get(timeout=60)["alerts"]:
                if (one["status"], one["labels"]["alertname"]) == (status, alert):
                    return one


@pytest.fixture(scope="module")
def sent() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """The address of a webhook, and the notifications that it received."""
    received: Queue[dict[str, Any]] = Queue()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def monitored(
    stack: StackUnderTest,
    monitoring_programs: monitoring.Programs,
    sent: tuple[str, Queue[dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MonitoredStack]:
    folder = tmp_path_factory.mktemp("monitoring")
    rules, receivers = folder / "alerts.yml", folder / "alertmanager.yml"
    rules.write_text(shorten((ROOT / monitoring.RULES).read_text(encoding="utf-8")))
    address, received = sent
    receivers.write_text(
        "route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: '{address}'}}]}}]\n"
    )
    with demo_deployment.deploy(stack, folder / "log", families=5) as deployment:
        for command in ("batch", "reconcile"):
            subprocess.run(
                sink_runner(command, "schemes", "--full"), env=deployment.environment, check=True
            )
        services = Monitoring(
            layout=stack.stack.layout,
            settings=stack.settings,
            programs=monitoring_programs,
            rules=rules,
            alertmanager=receivers,
            scrape_interval="1s",
        )
        supervisor = stack.stack.supervisor
        try:
            start_runner(stack)
            services.up(supervisor, Reporter())
            yield MonitoredStack(stack, services.url("prometheus"), received)
        finally:
            supervisor.stop(*monitoring.PARTS, "runner")


def start_runner(stack: StackUnderTest) -> None:
    stack.stack.up_sinks({"runner": sink_runner("run")})


def test_every_panel_shows_data(monitored: MonitoredStack) -> None:
    missing = list(PANELS)

    def has_samples() -> bool:
        monitored.change()
        missing[:] = [
            panel
            for panel in missing
            if not monitored.query(shorten(panel[2]).replace("$mapping", ".*"))
        ]
        return not missing

    try:
        eventually(has_samples, pause=1)
    except AssertionError:
        pytest.fail(f"without data: {missing}")


@pytest.mark.parametrize(
    ("part", "alert", "start"),
    [
        ("citizen", "SinkConnectorDown", StackUnderTest.revive),
        ("runner", "SinkRunnerDown", start_runner),
    ],
)
def test_alert_fires_and_clears(
    monitored: MonitoredStack, part: str, alert: str, start: Callable[[StackUnderTest], None]
) -> None:
    monitored.stack.stop(part)
    fired = monitored.wait_for_alert("firing", alert)
    assert fired["annotations"]["runbook"] == f"docs/runbooks/{alert}.md"
    start(monitored.stack)
    monitored.wait_for_alert("resolved", alert)
