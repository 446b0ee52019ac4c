"""`sink-runner api` as a process, on two databases with a few mappings and their history."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sink_runner.api.api_keys import hash_key, new_key

ROOT = Path(__file__).parents[2]
SECRET = "a secret for these tests, 32 characters or more"
CANARIES = ("812345678912", "9812345670", "Canary Kumari", "canary@example.in")
"""Made-up personal values that are in the databases."""
MAPPINGS = ("golden-records", "decisions", "eligibility-snapshots", "applications")
CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.smart_warehouse]
dsn = "{warehouse}"
reader_dsn = "{warehouse_reader}"
[databases.smart_citizen]
dsn = "{citizen}"
reader_dsn = "{citizen_reader}"
[dead_letters]
key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
key_id = "test"
[batch]
settle_seconds = 0.3
[policies]
directory = "{policies}"
[plugins]
enabled = {mappings}
[api]
port = {port}
database = "smart_warehouse"
secret = "{secret}"
"""
CLIENT = '[api.clients.{name}]\nkey_hash = "{hash}"\nscopes = {scopes}\ngroup = "smart_citizen"\n'
HISTORY = """
INSERT INTO sink.partition_offset (mapping, cluster_id, topic, topic_id, partition, next_offset,
  owner)
VALUES ('golden-records', 'c', 't', 'i', 0, 120, 'o'),
  ('golden-records', 'c', 't', 'i', 1, 30, 'o');
INSERT INTO sink.dead_letter (flow, error_class, sqlstate, error_message, stack_trace, source_data,
  key_id, plugin_version, status)
VALUES ('golden-records', 'WriteError', '23514', 'for 812345678912', '', '812345678912', 'k', '1',
    'OPEN'),
  ('golden-records', 'WaitingError', NULL, 'for Canary Kumari', '', '9812345670', 'k', '1',
    'PARKED');
INSERT INTO sink.conflict (table_name, record_id, source_database, target_database,
  conflict_type, source_value)
VALUES ('profile_data', 'f00d', 'smart_warehouse', 'smart_citizen', 'timestamp_conflict',
  '{"full_name": "Canary Kumari"}');
INSERT INTO sink.reconcile_run (mapping, mode, finished, outcome, columns, cluster, seen_before,
  snapshot_at, counts, columns_differing)
VALUES ('golden-records', 'full', now(), 'different', 1, 'c', 1, now(),
  '{"read": 30, "different": 2}', '{"full_name": 2}');
"""


@dataclass
class ConsoleProcess:
    """The running service, its keys by scope, and administrators' sessions with its databases."""

    url: str
    keys: dict[str, str]
    config: Path
    admin: dict[str, psycopg.Connection] = field(repr=False)

    def get(self, path: str, key: str = "observe") -> httpx.Response:
        return httpx.get(f"{self.url}/v1/{path}", headers={"X-API-Key": self.keys[key]}, timeout=60)

    def post(self, path: str, key: str = "operate", **body: Any) -> httpx.Response:
        headers = {"X-API-Key": self.keys[key]}
        return httpx.post(f"{self.url}/v1/{path}", headers=headers, json=body, timeout=60)


@contextmanager
def console_process(postgres, folder: Path) -> Iterator[ConsoleProcess]:
    """Start the service with a history of golden-records in its target database."""
    names = {like: postgres.fresh_database(f"smart_{like}") for like in ("warehouse", "citizen")}
    admin = {
        like: psycopg.connect(postgres.dsn(name), autocommit=True) for like, name in names.items()
    }
    admin["citizen"].execute(HISTORY)
    roles = {"": "sink_writer", "_reader": "sink_reader"}
    dsns = {
        f"{like}{suffix}": postgres.dsn(name, role)
        for like, name in names.items()
        for suffix, role in roles.items()
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    policies, mappings = ROOT / "ranger-policies", json.dumps(MAPPINGS)
    text = CONFIG.format(**dsns, port=port, policies=policies, mappings=mappings, secret=SECRET)
    scopes = {"observe": ["observe"], "operate": ["observe", "operate"], "none": []}
    keys = {name: new_key() for name in scopes}
    for name, granted in scopes.items():
        text += CLIENT.format(
            name=name, hash=hash_key(SECRET, keys[name]), scopes=json.dumps(granted)
        )
    config = folder / "sink-runner.toml"
    config.write_text(text)
    command = [sys.executable, "-m", "sink_runner", "api", "--config", str(config)]
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, folder / "api.log")
        yield ConsoleProcess(f"http://127.0.0.1:{port}", keys, config, admin)
    finally:
        process.terminate()
        process.wait(60)
        for session in admin.values():
            session.close()


def wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=0)) as client:
        while process.poll() is None:
            try:
                client.get(url)
            except httpx.TransportError:
                continue
            return
    raise RuntimeError(f"sink-runner api did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def console(postgres, tmp_path_factory) -> Iterator[ConsoleProcess]:
    with console_process(postgres, tmp_path_factory.mktemp("console")) as started:
        yield started
