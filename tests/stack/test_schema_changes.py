"""Changes of a source table while its mapping runs: accepted ones, and ones that pause it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3
from sink_stack import ports
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.config.registry import Registry
from sink_runner.plugin import Table
from sink_runner.schema_check.catalog_schema import key_schema, read_shape, value_schema

from ..support.waits import eventually
from .runner_process import ROOT, RunnerProcess, fetch_row, start_runner

pytestmark = pytest.mark.stack

SOURCE = "smart_warehouse.trap.changing"
CODE = f"""
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins


@hookimpl
def sink_mapping():
    return TableMapping(
        source="{SOURCE}",
        target="smart_citizen.public.changing",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id", required=True), Column("label"), Column("amount")),
    )
"""
TARGET = "CREATE TABLE IF NOT EXISTS changing (id int PRIMARY KEY, label text, amount bigint)"
RECREATE_SOURCE = """
DROP TABLE trap.changing;
CREATE TABLE trap.changing (id INT PRIMARY KEY, label TEXT NOT NULL, amount BIGINT);
ALTER PUBLICATION sink_publication ADD TABLE trap.changing;
GRANT SELECT ON trap.changing TO sink_capture, sink_reader;
"""


@dataclass
class ChangingTable:
    """The mapping `changing` with its configuration, policies, databases and runner."""

    folder: Path
    environ: dict[str, str]
    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    runner: RunnerProcess | None = None

    @property
    def config(self) -> Path:
        return self.folder / "sink-runner.toml"

    def change(self, *statements: str) -> None:
        for statement in statements:
            self.source.execute(statement.encode())

    def wait_for_row(self, number: int, label: str) -> None:
        query = "SELECT label FROM changing WHERE id = %s"
        eventually(
            lambda: self.assert_running() and fetch_row(self.target, query, number) == (label,)
        )

    def assert_running(self) -> bool:
        assert self.runner is not None
        assert self.runner.process.poll() is None, self.runner.log.read_text()
        return True

    def wait_for_pause(self, *words: str) -> None:
        """Wait until the log repeats that the mapping waits, with all these words."""
        runner, event = self.runner, '"event": "waiting"'
        assert runner is not None
        seen = runner.log.read_text().count(event)

        def is_logged() -> bool:
            lines = runner.log.read_text().splitlines()
            self.assert_running()
            new = [line for line in lines if event in line][seen:]
            return len(new) > 1 and all(word in new[-1] for word in words)

        eventually(is_logged)

    def snapshot(self) -> tuple[Any, ...]:
        """Return what a paused mapping must not change: rows, offsets and dead letters."""
        rows = "SELECT array_agg(t ORDER BY id) FROM changing t"
        offsets = "SELECT sum(next_offset) FROM sink.partition_offset WHERE mapping = 'changing'"
        dead_letters = "SELECT count(*) FROM sink.dead_letter"
        return tuple(fetch_row(self.target, query)[0] for query in (rows, offsets, dead_letters))

    def readiness(self) -> tuple[int, str]:
        """Return status and body of the runner's /readyz."""
        url = f"http://127.0.0.1:{self.environ['SINK_HEALTH_PORT']}/readyz"
        response = urllib3.request("GET", url, retries=False)
        return response.status, response.data.decode()

    def run_schema_command(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            sink_runner("schema", *arguments, "--config", str(self.config)),
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def run_runner(self) -> Iterator[RunnerProcess]:
        log = self.folder / "runner.log"
        runner = self.runner = start_runner(
            self.environ, log, "--only", "changing", config=self.config
        )
        try:
            yield runner
        finally:
            runner.stop()


@pytest.fixture(scope="module")
def environ(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a runner in which the mapping is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "sink_changing.py").write_text(CODE)
    info = site / "sink_changing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-changing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nchanging = sink_changing\n")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    port = str(ports.any_free(frozenset()))
    return {**os.environ, **stack.env, "PYTHONPATH": path, "SINK_HEALTH_PORT": port}


@pytest.fixture
def changing(
    stack: StackUnderTest, environ: dict[str, str], tmp_path: Path
) -> Iterator[ChangingTable]:
    shutil.copytree(ROOT / "ranger-policies", tmp_path / "ranger-policies")
    classification = tmp_path / "ranger-policies" / "classification.json"
    content = json.loads(classification.read_text())
    content["not_personal"][SOURCE] = dict.fromkeys(("label", "title"), "not of a person")
    classification.write_text(json.dumps(content))
    text = (ROOT / "sink-runner.toml").read_text()
    retry_steps = "retry_steps = [0.2, 0.5]\n"
    (tmp_path / "sink-runner.toml").write_text(retry_steps + text)
    with stack.admin("smart_warehouse") as source, stack.admin("smart_citizen") as target:
        target.execute(TARGET)
        target.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON changing TO sink_writer")
        source.execute("GRANT USAGE ON SCHEMA trap TO sink_reader")
        source.execute(RECREATE_SOURCE)
        yield ChangingTable(tmp_path, environ, source, target)
        source.execute(RECREATE_SOURCE)
        with suppress(psycopg.errors.UndefinedTable):
            target.execute("DELETE FROM sink.schema_contract WHERE mapping = 'changing'")


def test_new_column_is_accepted(changing: ChangingTable) -> None:
    with changing.run_runner():
        changing.change("INSERT INTO trap.changing VALUES (1, 'before', 1)")
        changing.wait_for_row(1, "before")
        changing.change(
            "ALTER TABLE trap.changing ADD COLUMN grade INT NOT NULL DEFAULT 3",
            "INSERT INTO trap.changing VALUES (2, 'after', 2, 4)",
        )
        changing.wait_for_row(2, "after")


def test_unclassified_column_pauses_until_classified(changing: ChangingTable) -> None:
    with changing.run_runner():
        changing.change("INSERT INTO trap.changing VALUES (11, 'before', 1)")
        changing.wait_for_row(11, "before")
        before = changing.snapshot()
        assert changing.readiness()[0] == 200
        changing.change(
            "ALTER TABLE trap.changing ADD COLUMN mobile_no VARCHAR(10)",
            "INSERT INTO trap.changing VALUES (12, 'after', 2, '0123456789')",
        )
        changing.wait_for_pause("mobile_no", "looks personal", "classification.json")
        status, body = changing.readiness()
        assert (status, "looks personal" in body) == (503, True)
        assert changing.snapshot() == before
        path = changing.folder / "ranger-policies" / "classification.json"
        known = json.loads(path.read_text())
        known["columns"][SOURCE] = {"mobile_no": ["CONTACT"]}
        path.write_text(json.dumps(known))
        changing.wait_for_row(12, "after")
        assert changing.readiness()[0] == 200
    assert "0123456789" not in (changing.folder / "runner.log").read_text()


def test_renamed_column_pauses_without_loss(changing: ChangingTable) -> None:
    with changing.run_runner():
        changing.change("INSERT INTO trap.changing VALUES (21, 'before', 1)")
        changing.wait_for_row(21, "before")
        before = changing.snapshot()
        changing.change(
            "ALTER TABLE trap.changing RENAME COLUMN label TO title",
            "UPDATE trap.changing SET title = 'meanwhile'",
            "INSERT INTO trap.changing VALUES (22, 'new meanwhile', 2)",
        )
        changing.wait_for_pause("changing", "label (text)", "probably renamed to title", "schema")
        code, output = changing.run_schema_command("check", "--mapping", "changing", "--json")
        (result,) = json.loads(output)
        assert (code, result["result"]) == (1, "refused")
        assert changing.snapshot() == before
        changing.change(
            "ALTER TABLE trap.changing RENAME COLUMN title TO label",
            "INSERT INTO trap.changing VALUES (23, 'after', 3)",
        )
        changing.wait_for_row(23, "after")
        changing.wait_for_row(22, "new meanwhile")
        changing.wait_for_row(21, "meanwhile")
        assert changing.run_schema_command("check", "--mapping", "changing")[0] == 0


def test_dropped_column_pauses_until_accepted(changing: ChangingTable) -> None:
    with changing.run_runner():
        changing.change("INSERT INTO trap.changing VALUES (31, 'before', 1)")
        changing.wait_for_row(31, "before")
    before = changing.snapshot()
    changing.change(
        "ALTER TABLE trap.changing DROP COLUMN amount",
        "INSERT INTO trap.changing VALUES (32, 'after')",
    )
    with changing.run_runner():
        changing.wait_for_pause("column amount (bigint)", "is gone", "schema accept changing")
        assert changing.snapshot() == before
        code, output = changing.run_schema_command("accept", "changing")
        assert code == 0, output
        changing.wait_for_row(32, "after")
        assert changing.snapshot()[2] == before[2]
        assert fetch_row(changing.target, "SELECT amount FROM changing WHERE id = 31") == (1,)


def test_narrowed_column_pauses_until_accepted(changing: ChangingTable) -> None:
    with changing.run_runner():
        changing.change("INSERT INTO trap.changing VALUES (41, 'before', 1)")
        changing.wait_for_row(41, "before")
        changing.change(
            "ALTER TABLE trap.changing ALTER COLUMN amount TYPE INT",
            "INSERT INTO trap.changing VALUES (42, 'after', 2)",
        )
        changing.wait_for_pause("column amount", "was narrowed: bigint -> int")
        assert fetch_row(changing.target, "SELECT count(*) FROM changing WHERE id = 42") == (0,)
        code, output = changing.run_schema_command("accept", "changing")
        assert (code, "accepted: column amount" in output) == (0, True)
        changing.wait_for_row(42, "after")


def test_catalog_schema_equals_debezium_schema(stack: StackUnderTest) -> None:
    """A check against the catalog is as reliable as one against the registry."""
    registry = SchemaCache(Registry(url=stack.registry))
    table = Table.parse("smart_warehouse.trap.shapes")
    with stack.admin("smart_warehouse") as connection:
        connection.execute("INSERT INTO trap.shapes (id, part, flag) VALUES (1, 1, true)")
        shape = read_shape(connection, table)
    value = eventually(lambda: registry.latest(f"{table}-value"))
    key = eventually(lambda: registry.latest(f"{table}-key"))
    assert value_schema(table, shape)["fields"] == value[1]["fields"][0]["type"][1]["fields"]
    assert key_schema(table, shape) == key[1]
