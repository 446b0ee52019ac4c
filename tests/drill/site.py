"""The stack of a drill: demo data, a runner, Prometheus with short rules, and Alertmanager."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sink_stack import envfile, monitoring
from sink_stack.monitoring import Monitoring
from sink_stack.progress import Reporter
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest, running

from ..stack import demo_deployment
from .rules import SCRAPE_INTERVAL, shorten

_FAMILIES = 5
# A waiting write gives up after half of it, and the mapping pauses.
_TIMEOUT = "\n[batch]\ntimeout_seconds = 4\n"
_RECEIVER = """route: {receiver: none, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: none}]
"""
_PAUSE = 0.25


@dataclass(kw_only=True)
class Site:
    """What a drill acts on."""

    stack: StackUnderTest
    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    folder: Path
    config: Path
    alertmanager: str
    volume_ended: float = 0.0
    """When the volume ended that the last hour is compared with."""

    def start_runner(self, config: Path | None = None) -> None:
        command = sink_runner("run", "--config", str(config or self.config))
        self.stack.stack.up_sinks({"runner": command})

    def run(self, *arguments: str) -> None:
        """Run a command of sink-runner; fail if it fails."""
        with self.spawn(*arguments) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, output

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            sink_runner(*arguments, "--config", str(self.config)),
            env=self.stack.stack.environment(),
            cwd=self.stack.stack.layout.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def is_active(self, alert: str) -> bool:
        """Whether Alertmanager has the alert."""
        query = urllib.parse.urlencode({"filter": f'alertname="{alert}"'})
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts?{query}") as response:
            return bool(json.load(response))


def wait_until(condition: Callable[[], Any], seconds: float) -> float:
    """Wait until the condition is true; return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(_PAUSE)
    return time.monotonic() - began


def fetch_value(connection: psycopg.Connection, query: str, *parameters: Any) -> Any:
    """Return the only value of a query."""
    ((found,),) = connection.execute(query.encode(), parameters).fetchall()
    return found


@contextmanager
def open_site() -> Iterator[Site]:
    """Start a stack of its own with everything that a drill needs, and end it after the block."""
    with running(StackUnderTest) as stack, TemporaryDirectory(prefix="drill-") as temporary:
        folder = Path(temporary)
        with demo_deployment.deploy(stack, folder / "log", _FAMILIES) as deployment:
            config = demo_deployment.write_config(deployment.root, folder, last=_TIMEOUT)
            services = _monitoring(stack, folder)
            site = Site(
                stack=stack,
                warehouse=deployment.warehouse,
                citizen=deployment.citizen,
                folder=folder,
                config=config,
                alertmanager=services.url("alertmanager"),
            )
            supervisor = stack.stack.supervisor
            try:
                site.run("batch", "schemes", "--full")
                site.start_runner()
                services.up(supervisor, Reporter())
                yield site
            finally:
                supervisor.stop(*monitoring.PARTS, "schedule", "runner")


def _monitoring(stack: StackUnderTest, folder: Path) -> Monitoring:
    layout = stack.stack.layout
    rules, receiver = folder / "alerts.yml", folder / "alertmanager.yml"
    rules.write_text(shorten((layout.root / monitoring.RULES).read_text(encoding="utf-8")))
    receiver.write_text(_RECEIVER)
    versions = envfile.load(layout.root / "compose" / "versions.env")
    return Monitoring(
        layout=layout,
        settings=stack.settings,
        programs=monitoring.install(layout, versions, Reporter()),
        rules=rules,
        alertmanager=receiver,
        scrape_interval=SCRAPE_INTERVAL,
    )
