"""A source table changes under a mapping: what passes, what pauses it, and the ways back."""

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

from .running import ROOT, Runner, eventually, row, start

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
BACK = """
DROP TABLE trap.changing;
CREATE TABLE trap.changing (id INT PRIMARY KEY, label TEXT NOT NULL, amount BIGINT);
ALTER PUBLICATION sink_publication ADD TABLE trap.changing;
GRANT SELECT ON trap.changing TO sink_capture, sink_reader;
"""


@dataclass
class Scene:
    """The mapping `changing`, a folder of its own policies, and both databases."""

    folder: Path
    environ: dict[str, str]
    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    runner: Runner | None = None

    @property
    def config(self) -> Path:
        return self.folder / "sink-runner.toml"

    def change(self, *statements: str) -> None:
        for statement in statements:
            self.source.execute(statement.encode())

    def arrives(self, number: int, label: str) -> None:
        query = "SELECT label FROM changing WHERE id = %s"
        eventually(lambda: self.lives() and row(self.target, query, number) == (label,))

    def lives(self) -> bool:
        assert self.runner is not None
        assert self.runner.process.poll() is None, self.runner.log.read_text()
        return True

    def pauses(self, *words: str) -> None:
        """The runner says why it waits, and goes on saying so."""
        runner, waits = self.runner, '"event": "waiting"'
        assert runner is not None
        seen = runner.log.read_text().count(waits)

        def told() -> bool:
            lines = runner.log.read_text().splitlines()
            self.lives()
            new = [line for line in lines if waits in line][seen:]
            return len(new) > 1 and all(word in new[-1] for word in words)

        eventually(told)

    def state(self) -> tuple[Any, ...]:
        """What a paused mapping must leave alone: its rows and how far it came."""
        rows = "SELECT array_agg(t ORDER BY id) FROM changing t"
        offsets = "SELECT sum(next_offset) FROM sink.partition_offset WHERE mapping = 'changing'"
        dead_letters = "SELECT count(*) FROM sink.dead_letter"
        return tuple(row(self.target, query)[0] for query in (rows, offsets, dead_letters))

    def ready(self) -> tuple[int, str]:
        """What the runner answers to whoever asks whether it is ready."""
        url = f"http://127.0.0.1:{self.environ['SINK_HEALTH_PORT']}/readyz"
        answer = urllib3.request("GET", url, retries=False)
        return answer.status, answer.data.decode()

    def call(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            sink_runner("schema", *arguments, "--config", str(self.config)),
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def running(self) -> Iterator[Runner]:
        log = self.folder / "runner.log"
        runner = self.runner = start(self.environ, log, "--only", "changing", config=self.config)
        try:
            yield runner
        finally:
            runner.stop()


@pytest.fixture(scope="module")
def environ(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the mapping is installed."""
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
def scene(stack: StackUnderTest, environ: dict[str, str], tmp_path: Path) -> Iterator[Scene]:
    shutil.copytree(ROOT / "ranger-policies", tmp_path / "ranger-policies")
    classification = tmp_path / "ranger-policies" / "classification.json"
    known = json.loads(classification.read_text())
    known["not_personal"][SOURCE] = dict.fromkeys(("label", "title"), "of a thing")
    classification.write_text(json.dumps(known))
    text = (ROOT / "sink-runner.toml").read_text()
    often = "retry_steps = [0.2, 0.5]\n"
    (tmp_path / "sink-runner.toml").write_text(often + text)
    with stack.admin("smart_warehouse") as source, stack.admin("smart_citizen") as target:
        target.execute(TARGET)
        target.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON changing TO sink_writer")
        source.execute("GRANT USAGE ON SCHEMA trap TO sink_reader")
        source.execute(BACK)
        yield Scene(tmp_path, environ, source, target)
        source.execute(BACK)
        with suppress(psycopg.errors.UndefinedTable):
            target.execute("DELETE FROM sink.schema_contract WHERE mapping = 'changing'")


def test_a_new_column_passes(scene: Scene) -> None:
    with scene.running():
        scene.change("INSERT INTO trap.changing VALUES (1, 'before', 1)")
        scene.arrives(1, "before")
        scene.change(
            "ALTER TABLE trap.changing ADD COLUMN grade INT NOT NULL DEFAULT 3",
            "INSERT INTO trap.changing VALUES (2, 'after', 2, 4)",
        )
        scene.arrives(2, "after")


def test_one_that_looks_personal_pauses_until_somebody_decides(scene: Scene) -> None:
    with scene.running():
        scene.change("INSERT INTO trap.changing VALUES (11, 'before', 1)")
        scene.arrives(11, "before")
        state = scene.state()
        assert scene.ready()[0] == 200
        scene.change(
            "ALTER TABLE trap.changing ADD COLUMN mobile_no VARCHAR(10)",
            "INSERT INTO trap.changing VALUES (12, 'after', 2, '0123456789')",
        )
        scene.pauses("mobile_no", "looks personal", "classification.json")
        status, told = scene.ready()
        assert (status, "looks personal" in told) == (503, True)
        assert scene.state() == state
        path = scene.folder / "ranger-policies" / "classification.json"
        known = json.loads(path.read_text())
        known["columns"][SOURCE] = {"mobile_no": ["CONTACT"]}
        path.write_text(json.dumps(known))
        scene.arrives(12, "after")
        assert scene.ready()[0] == 200
    assert "0123456789" not in (scene.folder / "runner.log").read_text()


def test_renamed_column_pauses_and_loses_nothing(scene: Scene) -> None:
    with scene.running():
        scene.change("INSERT INTO trap.changing VALUES (21, 'before', 1)")
        scene.arrives(21, "before")
        state = scene.state()
        scene.change(
            "ALTER TABLE trap.changing RENAME COLUMN label TO title",
            "UPDATE trap.changing SET title = 'meanwhile'",
            "INSERT INTO trap.changing VALUES (22, 'new meanwhile', 2)",
        )
        scene.pauses("changing", "label (text)", "probably renamed to title", "schema")
        code, said = scene.call("check", "--mapping", "changing", "--json")
        (result,) = json.loads(said)
        assert (code, result["result"]) == (1, "refused")
        assert scene.state() == state
        scene.change(
            "ALTER TABLE trap.changing RENAME COLUMN title TO label",
            "INSERT INTO trap.changing VALUES (23, 'after', 3)",
        )
        scene.arrives(23, "after")
        scene.arrives(22, "new meanwhile")
        scene.arrives(21, "meanwhile")
        assert scene.call("check", "--mapping", "changing")[0] == 0


def test_dropped_one_as_well_even_over_restart(scene: Scene) -> None:
    with scene.running():
        scene.change("INSERT INTO trap.changing VALUES (31, 'before', 1)")
        scene.arrives(31, "before")
    state = scene.state()
    scene.change(
        "ALTER TABLE trap.changing DROP COLUMN amount",
        "INSERT INTO trap.changing VALUES (32, 'after')",
    )
    with scene.running():
        scene.pauses("column amount (bigint)", "is gone", "schema accept changing")
        assert scene.state() == state
        code, said = scene.call("accept", "changing")
        assert code == 0, said
        scene.arrives(32, "after")
        assert scene.state()[2] == state[2]
        assert row(scene.target, "SELECT amount FROM changing WHERE id = 31") == (1,)


def test_a_narrowed_one_is_accepted_by_a_person(scene: Scene) -> None:
    with scene.running():
        scene.change("INSERT INTO trap.changing VALUES (41, 'before', 1)")
        scene.arrives(41, "before")
        scene.change(
            "ALTER TABLE trap.changing ALTER COLUMN amount TYPE INT",
            "INSERT INTO trap.changing VALUES (42, 'after', 2)",
        )
        scene.pauses("column amount", "was narrowed: bigint -> int")
        assert row(scene.target, "SELECT count(*) FROM changing WHERE id = 42") == (0,)
        code, said = scene.call("accept", "changing")
        assert (code, "accepted: column amount" in said) == (0, True)
        scene.arrives(42, "after")


def test_what_the_catalog_says_is_what_debezium_writes(stack: StackUnderTest) -> None:
    """A check without a registry is worth as much as one with it."""
    registry = SchemaCache(Registry(url=stack.registry))
    table = Table.parse("smart_warehouse.trap.shapes")
    with stack.admin("smart_warehouse") as connection:
        connection.execute("INSERT INTO trap.shapes (id, part, flag) VALUES (1, 1, true)")
        shape = read_shape(connection, table)
    value = eventually(lambda: registry.latest(f"{table}-value"))
    key = eventually(lambda: registry.latest(f"{table}-key"))
    assert value_schema(table, shape)["fields"] == value[1]["fields"][0]["type"][1]["fields"]
    assert key_schema(table, shape) == key[1]
