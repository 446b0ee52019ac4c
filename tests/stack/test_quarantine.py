"""Broken mappings on the real stack are quarantined and reported, and the others run."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack import ports
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

MAPPING = """
{first}
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.trap.{source}",
        target="smart_citizen.public.{target}",
        key=("Order No",),
        conflict=source_wins(),
        columns=(Column("Order No"), Column("a-b"), Column("a_b")),
    )
"""
TABLE = 'CREATE TABLE IF NOT EXISTS "Odd Items" ("Order No" int PRIMARY KEY, "a-b" text, a_b text)'


def install_plugin(site: Path, name: str, *, first: str = "", source: str, target: str) -> None:
    """Install a plugin into `site`, as pip does."""
    module = f"sink_{name}_plugin"
    (site / f"{module}.py").write_text(MAPPING.format(first=first, source=source, target=target))
    info = site / f"sink_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sink-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sink_runner.v1]\n{name} = {module}\n")


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


def states(port: int) -> Mapping[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError:
        return {}
    found: Mapping[str, Any] = json.loads(body)["mappings"]
    return found


def test_only_broken_mappings_are_quarantined(
    stack: StackUnderTest, databases: Any, tmp_path: Path
) -> None:
    """A table whose names Kafka and Avro do not allow is copied beside four broken mappings.

    One of them reads a table that is published, but not in Debezium's table.include.list.
    """
    warehouse, portal = databases
    site = tmp_path / "site"
    site.mkdir()
    install_plugin(site, "odd", source="Odd Items", target="Odd Items")
    install_plugin(site, "unloadable", first="import missing_module", source="toast", target="x")
    install_plugin(site, "sourceless", source="no_such_table", target="Odd Items")
    install_plugin(site, "targetless", source="moving", target="no_such_target")
    install_plugin(site, "unlisted", source="Unlisted", target="Odd Items")
    warehouse.execute('CREATE TABLE trap."Unlisted" (LIKE trap."Odd Items" INCLUDING ALL)')
    warehouse.execute('ALTER PUBLICATION sink_publication ADD TABLE trap."Unlisted"')
    warehouse.execute("GRANT USAGE ON SCHEMA trap TO sink_reader")
    warehouse.execute("GRANT SELECT ON ALL TABLES IN SCHEMA trap TO sink_reader")
    portal.execute(TABLE)
    portal.execute('GRANT SELECT, INSERT, UPDATE, DELETE ON "Odd Items" TO sink_writer')
    port = ports.any_free(frozenset())
    environ = {**stack.env, "PYTHONPATH": str(site), "SINK_HEALTH_PORT": str(port)}
    only = ("--only", "odd,unloadable,sourceless,targetless,unlisted,schemes")
    with run_runner(environ, tmp_path / "log", *only, mappings=1) as runner:
        warehouse.execute("INSERT INTO trap.\"Odd Items\" VALUES (77, 'minus', 'under')")
        query = 'SELECT "a-b", a_b FROM "Odd Items" WHERE "Order No" = 77'
        eventually(lambda: fetch_row(portal, query) == ("minus", "under"))
        broken = {"unloadable", "sourceless", "targetless", "unlisted"}
        eventually(
            lambda: (
                {name for name, one in states(port).items() if one["state"] == "quarantined"}
                == broken
            )
        )
        found = states(port)
        assert "missing_module" in found["unloadable"]["reason"]
        assert "no_such_table" in found["sourceless"]["reason"]
        assert "no_such_target" in found["targetless"]["reason"]
        remedy = "add trap.Unlisted to debezium.source.table.include.list and restart capture"
        assert remedy in found["unlisted"]["reason"]
        listed = subprocess.run(
            sink_runner("plugins", "--json", *only),
            env={**environ},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        listed_states = {one["name"]: one["state"] for one in json.loads(listed.stdout)}
        assert {name for name in listed_states if listed_states[name] == "quarantined"} == broken
        code, _ = runner.stop()
        assert code == 1
    assert runner.log.read_text().count('"mapping_quarantined"') == len(broken)
