"""The state of each part, and the lag of slots and mappings."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import psycopg
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import airflow, health, monitoring, ports, topics
from .health import MappingState
from .processes import memory
from .settings import DATABASES, Settings
from .stack import Stack

PARTS = ("postgres", "kafka", "registry", "warehouse", "citizen", "runner", "api")
_PORTS = {"airflow-api": "airflow", "runner": "health"}
_VERSIONS = {
    "postgres": "POSTGRES_VERSION",
    "kafka": "KAFKA_VERSION",
    "registry": "APICURIO_VERSION",
    "warehouse": "DEBEZIUM_VERSION",
    "citizen": "DEBEZIUM_VERSION",
    **monitoring.VERSIONS,
}
_SLOT_LAG = """
SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint
  FROM pg_replication_slots WHERE database = %s
"""
_GROUP_PREFIX = "sink."


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One line of the status."""

    name: str
    up: bool
    pid: int | None
    port: int | None
    version: str
    memory: int
    restarts: int
    """How often it ended and was started again since `up`."""


def parts(stack: Stack, settings: Settings) -> list[Part]:
    """Return the parts that should run: of Airflow and `sink-runner schedule` the one in use.

    Prometheus and Alertmanager are among them from `monitoring` until `down`.
    """
    scheduled = any(stack.supervisor.running(name) for name in airflow.PARTS)
    monitored = [name for name in monitoring.PARTS if name in stack.supervisor.names()]
    names = (*PARTS, *(airflow.PARTS if scheduled else ("schedule",)), *monitored)
    return [_part(stack, settings, name) for name in names]


def _part(stack: Stack, settings: Settings, name: str) -> Part:
    running, restarts = stack.supervisor.running(name), stack.supervisor.restarts(name)
    port_name = _PORTS.get(name, name)
    port = settings.port(port_name) if port_name in ports.PREFERRED else None
    answers = port is None or ports.answers(port)
    return Part(
        name=name,
        up=running is not None and answers,
        pid=(restarts.pid or running.pid) if running else None,
        port=port,
        version=_version(stack, name),
        memory=memory(running.pid) if running else 0,
        restarts=restarts.count,
    )


def _version(stack: Stack, name: str) -> str:
    if name in _VERSIONS:
        return stack.versions[_VERSIONS[name]]
    if name in airflow.PARTS:
        return airflow.version(stack.layout)
    try:
        return metadata.version("sink-runner")
    except metadata.PackageNotFoundError:
        return ""


def slot_lag(settings: Settings) -> dict[str, int | None]:
    """Bytes of log that each slot has not confirmed; empty while PostgreSQL is down."""
    lag: dict[str, int | None] = {}
    for database in DATABASES.values():
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(settings.admin_dsn(database), connect_timeout=2) as connection,
        ):
            for slot, lag_bytes in connection.execute(_SLOT_LAG, [database]).fetchall():
                lag[f"{database}/{slot}"] = lag_bytes
    return lag


def group_lag(settings: Settings) -> dict[str, int]:
    """Records that each mapping's consumer group has not committed; empty while Kafka is down."""
    if not ports.answers(settings.port("kafka")):
        return {}
    try:
        with topics.admin(settings.kafka) as client:
            groups = [
                group["group_id"]
                for group in client.list_groups()
                if group["group_id"].startswith(_GROUP_PREFIX)
            ]
            return {group: _records_behind(client, group) for group in sorted(groups)}
    except KafkaError:
        return {}


def _records_behind(client: Any, group: str) -> int:
    committed: Mapping[TopicPartition, Any] = client.list_group_offsets(group)[group]
    ends = client.list_partition_offsets(dict.fromkeys(committed, OffsetSpec.LATEST))
    return sum(max(0, ends[one].offset - committed[one].offset) for one in committed)


def mappings(settings: Settings) -> Mapping[str, MappingState]:
    """Return the states of the mappings; empty while the runner does not answer."""
    port = int(settings.exported().get("SINK_HEALTH_PORT", 0))
    return (health.mapping_states(port) if port else None) or {}


def broken(settings: Settings) -> list[str]:
    """Return the mappings that are quarantined or stopped, for which a person has to act."""
    found = mappings(settings)
    return [name for name, one in found.items() if one.state in health.BROKEN]


def as_json(stack: Stack) -> str:
    settings = stack.settings
    report = {
        "parts": [asdict(part) for part in parts(stack, settings)],
        "mappings": {name: asdict(one) for name, one in mappings(settings).items()},
        "slot_lag_bytes": slot_lag(settings),
        "group_lag_records": group_lag(settings),
    }
    return json.dumps(report, indent=2)


def show(stack: Stack, console: Console) -> None:
    """Print the parts, then how far behind the slots and the mappings are."""
    settings = stack.settings
    table = Table("part", "", "pid", "port", "version", "memory", "restarts", box=None)
    for part in parts(stack, settings):
        state = "[green]up[/]" if part.up else "[red]down[/]"
        size = f"{part.memory / 1e6:.0f} MB" if part.pid else ""
        numbers = [str(number or "") for number in (part.pid, part.port, part.restarts)]
        pid, port, restarts = numbers
        table.add_row(part.name, state, pid, port, part.version, size, restarts)
    console.print(table)
    _show_mappings(mappings(settings), console)
    console.print(f"console: {settings.console}", highlight=False, soft_wrap=True)
    for slot, lag in slot_lag(settings).items():
        text = "never confirmed" if lag is None else f"{lag:,} bytes behind"
        console.print(f"slot {slot}: {text}", highlight=False)
    for group, lag in group_lag(settings).items():
        console.print(f"group {group}: {lag:,} records behind", highlight=False)


def _show_mappings(found: Mapping[str, MappingState], console: Console) -> None:
    if not found:
        return
    running = sum(one.state == health.RUNNING for one in found.values())
    console.print(f"mappings: {running} of {len(found)} running", highlight=False)
    for line in health.not_running(found):
        console.print(f"[red]{escape(line)}[/]", highlight=False, soft_wrap=True)
