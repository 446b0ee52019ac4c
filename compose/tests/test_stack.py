"""The running stack."""

import contextlib
import io
import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata
from rich.console import Console

from sink_stack import java, logs, show, status
from sink_stack.errors import StackError
from sink_stack.programs import Installer

pytestmark = pytest.mark.stack
VIEWS = (
    *("cdc_conflict_resolution", "cdc_audit_log"),
    *("sync_dlq", "sync_watermark", "sync_processed_event"),
)
PARTS = ("postgres", "kafka", "registry", "warehouse", "citizen")


def pids(stack):
    return {name: stack.stack.supervisor.running(name).pid for name in PARTS}


def test_second_up_is_quick_and_restarts_nothing(stack):
    stack.revive()
    before, began = pids(stack), time.monotonic()
    stack.revive()
    assert time.monotonic() - began < 3
    assert pids(stack) == before


def test_programs_use_archived_classes(stack, tmp_path):
    """The first process that ends writes the archive that the next one reads."""
    layout, versions = stack.stack.layout, stack.stack.versions
    programs = Installer(layout, versions, os.environ).programs()
    command = [programs.java, *java.keep_classes(tmp_path / "kafka"), "-Xlog:class+load"]
    command += ["-cp", f"{programs.kafka}/*", "kafka.tools.StorageTool", "random-uuid"]
    first, second = (subprocess.check_output(command, text=True) for _ in range(2))
    kept = "kafka.tools.StorageTool source: shared objects file (top)"
    assert (kept in first, kept in second) == (False, True)
    for part in ("kafka", "registry", "warehouse"):
        running = stack.stack.supervisor.running(part)
        assert b"-XX:+AutoCreateSharedArchive" in Path(f"/proc/{running.pid}/cmdline").read_bytes()


def test_views_of_specification_exist_before_runner_starts(stack):
    """`up` creates the tables that they read, also in databases that have data already."""
    for database in ("smart_warehouse", "smart_citizen"):
        with stack.admin(database) as admin:
            admin.execute("DROP SCHEMA sink CASCADE")
            admin.execute("CREATE SCHEMA sink AUTHORIZATION sink_writer")
    stack.revive()
    for database in ("smart_warehouse", "smart_citizen"):
        with stack.admin(database) as admin:
            for view in VIEWS:
                assert admin.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)
            owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'sink'"
            assert admin.execute(owners).fetchall() == [("sink_writer",)]


def test_killed_part_is_down_until_next_up(stack):
    before = pids(stack)
    stack.kill("registry")
    assert stack.stack.supervisor.running("registry") is None
    stack.revive()
    after = pids(stack)
    assert after["registry"] != before["registry"]
    assert (after["postgres"], after["kafka"]) == (before["postgres"], before["kafka"])


def test_exited_debezium_is_restarted(stack):
    """The supervisor restarts it, not `up`; the status counts it, and capture continues."""
    before = warehouse(stack)
    os.kill(before["pid"], signal.SIGKILL)
    bound = time.monotonic() + 90
    while warehouse(stack)["pid"] in (None, before["pid"]) and time.monotonic() < bound:
        time.sleep(0.1)
    assert warehouse(stack)["restarts"] == before["restarts"] + 1
    assert "warehouse ended with SIGKILL" in stack.stack.layout.log("warehouse").read_text()
    seen = heartbeats(stack)
    while heartbeats(stack) == seen and time.monotonic() < bound:
        time.sleep(0.5)
    assert heartbeats(stack) > seen


def heartbeats(stack):
    """The number of records that the warehouse's Debezium has sent because time passed."""
    topic = TopicPartition("smart_warehouse.cdc.heartbeat", 0)
    with contextlib.closing(KafkaConsumer(bootstrap_servers=stack.kafka)) as consumer:
        return consumer.end_offsets([topic])[topic]


def warehouse(stack):
    parts = json.loads(status.as_json(stack.stack))["parts"]
    return next(part for part in parts if part["name"] == "warehouse")


def test_new_schema_survives_crash_of_registry(stack):
    """Records contain its id already: another schema with that id would decode them wrongly."""
    texts = [json.dumps({"type": "record", "name": f"R{n}", "fields": []}) for n in range(20)]
    numbers = [register(stack, text) for text in texts]
    stack.kill("registry")
    stack.revive()
    schemas = stack.recorder().schemas
    assert [json.loads(schemas.text(number))["name"] for number in numbers] == [
        f"R{n}" for n in range(20)
    ]


def register(stack, text):
    url = f"{stack.registry}/subjects/crash/versions"
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"schema": text}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.load(answer)["id"]


def test_status_has_parts_ports_versions_memory_lag(stack):
    completed = json.loads(status.as_json(stack.stack))
    parts = {part["name"]: part for part in completed["parts"]}
    for name in PARTS:
        assert parts[name]["up"]
        assert parts[name]["port"] == stack.settings.port(name)
        assert parts[name]["version"]
        assert parts[name]["memory"] > 10_000_000
    assert not parts["runner"]["up"]
    assert set(completed["slot_lag_bytes"]) == {
        "smart_warehouse/sink_warehouse",
        "smart_citizen/sink_citizen",
    }


def test_lag_counts_uncommitted_records_of_group(stack):
    topic = TopicPartition("smart_citizen.cdc.heartbeat", 0)
    stack.recorder().read(topic.topic, 2)
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka, group_id="sink.lagging")
    consumer.assign([topic])
    consumer.commit({topic: OffsetAndMetadata(0, "", -1)})
    consumer.close()
    assert status.group_lag(stack.settings)["sink.lagging"] >= 2


def test_heartbeat_advances_idle_slot(stack):
    """The slot of an idle database must not retain the log while the other database writes."""
    with stack.admin("smart_warehouse") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.noise (id INT)")
        connection.execute("INSERT INTO public.noise SELECT generate_series(1, 100000)")
    bound = time.monotonic() + 30
    while time.monotonic() < bound:
        if (status.slot_lag(stack.settings)["smart_citizen/sink_citizen"] or 0) < 1_000_000:
            break
        time.sleep(0.5)
    assert status.slot_lag(stack.settings)["smart_citizen/sink_citizen"] < 1_000_000


def test_only_administrator_is_superuser(stack):
    with stack.admin("smart_citizen") as connection:
        superusers = connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()
    assert superusers == [("postgres",)]
    for name in ("SINK_SMART_CITIZEN_DSN", "SINK_SMART_CITIZEN_READER_DSN"):
        with psycopg.connect(stack.env[name]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_postgresql_never_runs_as_root(stack):
    pid = stack.stack.supervisor.running("postgres").pid
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    uids = next(line for line in lines if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids


def test_every_part_listens_on_the_loopback_only(stack):
    ours = set(pids(stack).values())
    everywhere = []
    for pid in ours:
        inodes = {link.readlink().name for link in sockets(pid)}
        everywhere += [line for line in listening() if f"socket:[{line[9]}]" in inodes]
    assert everywhere
    loopback = ("0100007F", "0000000000000000FFFF00000100007F")
    assert {line[1].rpartition(":")[0] for line in everywhere} <= set(loopback)


def sockets(pid):
    return list(Path(f"/proc/{pid}/fd").iterdir())


def listening():
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        yield from (line.split() for line in lines if line.split()[3] == "0A")


def test_logs_contain_no_password(stack):
    secrets = [text for name, text in stack.settings.values.items() if "PASSWORD" in name]
    for path in logs.files(stack.stack.layout, None):
        text = path.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), path.name


def test_error_of_statement_leaves_no_row_in_log(stack):
    with stack.admin("smart_warehouse") as connection, pytest.raises(psycopg.Error):
        connection.execute("INSERT INTO trap.gone VALUES (99, 'secret of a row', NULL, NULL)")
    assert "secret of a row" not in stack.stack.layout.log("postgres").read_text()


def test_show_needs_demo_data(stack):
    for database, table in {
        "smart_warehouse": "golden_records",
        "smart_citizen": "citizens",
    }.items():
        with stack.admin(database) as connection:
            connection.execute(f"TRUNCATE {table} CASCADE")
    with pytest.raises(StackError, match="demo load"):
        list(show.show(stack.settings, Console(file=io.StringIO()), timeout=0.1, catch_up=0))


def test_show_explains_missing_change(stack):
    with stack.admin("smart_warehouse") as connection:
        connection.execute(
            "INSERT INTO public.golden_records (gr_id, jan_aadhaar)"
            " VALUES (gen_random_uuid(), '000000000000')"
        )
        try:
            with pytest.raises(StackError, match=r"did not reach smart_citizen.*status"):
                list(
                    show.show(stack.settings, Console(file=io.StringIO()), timeout=0.1, catch_up=0)
                )
        finally:
            connection.execute("DELETE FROM public.golden_records")


def test_log_of_unknown_part_names_known_ones(stack):
    with pytest.raises(StackError, match="kafka"):
        logs.files(stack.stack.layout, "kafak")
