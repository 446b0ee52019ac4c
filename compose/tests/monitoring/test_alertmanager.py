"""Alertmanager's configurations are valid, route alerts by severity, and send notifications."""

import json
import re
import socketserver
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import pytest
import yaml

from sink_stack import monitoring, ports
from sink_stack.processes import Command

from .test_alert_rules import ALERTS

FOLDER = Path(__file__).parents[3] / monitoring.FOLDER
PRODUCTION = FOLDER / "alertmanager-production.yml"
ANNOTATIONS = {"summary": "mapping one is late", "way_out": "look", "runbook": "docs/x.md"}


def amtool(monitoring_programs, *arguments):
    return subprocess.run(
        [monitoring_programs.amtool, *arguments],
        cwd=monitoring_programs.amtool.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["alertmanager.yml", "alertmanager-production.yml"])
def test_configuration_is_valid(monitoring_programs, name):
    completed = amtool(monitoring_programs, "check-config", FOLDER / name)
    assert completed.returncode == 0, completed.stderr


def test_invalid_configuration_is_refused(monitoring_programs, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(PRODUCTION.read_text().replace("receiver: pages", "receiver: nowhere"))
    assert amtool(monitoring_programs, "check-config", broken).returncode != 0


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_routed_by_its_severity(monitoring_programs, alert):
    severity = ALERTS[alert]["labels"]["severity"]
    labels = (f"alertname={alert}", f"severity={severity}")
    completed = amtool(
        monitoring_programs, "config", "routes", "test", "--config.file", PRODUCTION, *labels
    )
    assert completed.stdout.split() == [f"{severity}s"]


def test_inhibition_names_known_alerts():
    rules = yaml.safe_load(PRODUCTION.read_text())["inhibit_rules"]
    alerts = set(re.findall(r"\bSink\w+", json.dumps(rules)))
    assert alerts
    assert alerts <= ALERTS.keys()


def test_production_configuration_contains_no_secret():
    text = PRODUCTION.read_text()
    assert not re.search(r"password:|api_url:|https://", text)


class SlackHandler(BaseHTTPRequestHandler):
    received: Queue[str] = Queue()

    def do_POST(self):
        self.received.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class MailHandler(socketserver.StreamRequestHandler):
    received: Queue[str] = Queue()

    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            if line.startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                self.received.put(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
            if line.startswith(b"QUIT"):
                return


@pytest.fixture
def slack():
    yield from run_server(HTTPServer(("127.0.0.1", 0), SlackHandler))


@pytest.fixture
def mail():
    yield from run_server(socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailHandler))


def run_server(server: socketserver.BaseServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def alertmanager(monitoring_programs, supervisor, tmp_path, slack, mail):
    """The address of an Alertmanager with the production configuration and local receivers."""
    secret = tmp_path / "slack_url"
    secret.write_text(f"http://{slack}/hook")
    text = PRODUCTION.read_text()
    for pattern, replacement in {
        r"slack_api_url_file: .*": f"slack_api_url_file: {secret}",
        r"smtp_smarthost: .*": f"smtp_smarthost: {mail}",
        r" *smtp_auth_.*\n": "",
        r"smtp_require_tls: true": "smtp_require_tls: false",
        r"group_wait: 30s": "group_wait: 0s",
    }.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    config = tmp_path / "alertmanager.yml"
    config.write_text(text)
    port = ports.any_free(frozenset())
    argv = [
        *(monitoring_programs.alertmanager, f"--config.file={config}", "--cluster.listen-address="),
        *(f"--storage.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    command = Command(
        name="alertmanager", argv=[*map(str, argv)], cwd=monitoring_programs.alertmanager.parents[2]
    )
    supervisor.start(command)
    supervisor.wait_until("alertmanager", lambda: ports.answers(port), 30)
    return f"http://127.0.0.1:{port}"


def send_alert(alertmanager, severity):
    alert = {
        "labels": {"alertname": "SinkLate", "mapping": "one", "severity": severity},
        "annotations": ANNOTATIONS,
    }
    request = urllib.request.Request(
        f"{alertmanager}/api/v2/alerts",
        data=json.dumps([alert]).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_page_reaches_slack_and_mail(alertmanager):
    send_alert(alertmanager, "page")
    for message in (SlackHandler.received.get(timeout=30), MailHandler.received.get(timeout=30)):
        assert "FIRING SinkLate one" in message
        assert all(text in message for text in ANNOTATIONS.values())


def test_ticket_reaches_mail_only(alertmanager):
    send_alert(alertmanager, "ticket")
    assert ANNOTATIONS["summary"] in MailHandler.received.get(timeout=30)
    assert SlackHandler.received.empty()
