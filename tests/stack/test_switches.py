"""A mapping is disabled in each of three ways, and catches up when it is enabled again."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

Disable = Callable[[Path], dict[str, Any]]


def disable_by_command_line(_folder: Path) -> dict[str, Any]:
    return {"arguments": ("--without", "citizens")}


def disable_by_environment(_folder: Path) -> dict[str, Any]:
    return {"environ": {"SINK_PLUGINS_OFF": "citizens"}}


def disable_by_configuration(folder: Path) -> dict[str, Any]:
    text = (ROOT / "sink-runner.toml").read_text()
    assert "disabled = []" in text
    config = folder / "sink-runner.toml"
    config.write_text(text.replace("disabled = []", 'disabled = ["citizens"]'))
    (folder / "ranger-policies").symlink_to(ROOT / "ranger-policies")
    return {"config": config}


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


@pytest.mark.parametrize(
    ("disable", "number"),
    [
        (disable_by_command_line, "041000000000"),
        (disable_by_environment, "042000000000"),
        (disable_by_configuration, "043000000000"),
    ],
)
def test_only_disabled_mapping_stops(
    stack: StackUnderTest, databases: Any, tmp_path: Path, disable: Disable, number: str
) -> None:
    warehouse, portal = databases
    record = str(
        fetch_row(
            warehouse,
            "INSERT INTO golden_records (jan_aadhaar, full_name) VALUES (%s, 'Asha') "
            "RETURNING gr_id",
            number,
        )[0]
    )
    profile = "SELECT full_name FROM profile_data WHERE record_id = %s"
    options = disable(tmp_path)
    arguments = options.pop("arguments", ())
    environ = {**stack.env, **options.pop("environ", {})}
    with run_runner(environ, tmp_path / "off", *arguments, mappings=2, **options):
        portal.execute(
            "INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status) "
            "VALUES (%s, 'Ravi', '0123456789', 'VERIFIED')",
            (number,),
        )
        eventually(lambda: fetch_row(portal, profile, record) == ("Asha",))
        warehouse.execute(
            "UPDATE golden_records SET city_village = 'Bagru' WHERE gr_id = %s", (record,)
        )
        city = "SELECT city FROM profile_data WHERE record_id = %s"
        eventually(lambda: fetch_row(portal, city, record) == ("Bagru",))
        assert fetch_row(
            warehouse, "SELECT full_name FROM golden_records WHERE gr_id = %s", record
        ) == ("Asha",)
    with run_runner(stack.env, tmp_path / "on"):
        eventually(lambda: fetch_row(portal, profile, record) == ("Ravi",))


PLUGIN = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.trap.dropped_in",
        target="smart_citizen.public.dropped_in",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id", required=True), Column("label")),
    )
"""
PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "sink-moving"
version = "1.0"
[project.entry-points."sink_runner.v1"]
moving = "sink_moving"
[tool.setuptools]
py-modules = ["sink_moving"]
"""


def test_installed_plugin_runs_after_restart(
    stack: StackUnderTest, databases: Any, tmp_path: Path
) -> None:
    """`pip install` and a restart are enough; no file is edited."""
    warehouse, portal = databases
    package, site = tmp_path / "anything", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(PROJECT)
    (package / "sink_moving.py").write_text(PLUGIN)
    portal.execute("CREATE TABLE IF NOT EXISTS dropped_in (id int PRIMARY KEY, label varchar(200))")
    portal.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON dropped_in TO sink_writer")
    warehouse.execute("GRANT USAGE ON SCHEMA trap TO sink_reader")
    warehouse.execute("GRANT SELECT ON trap.dropped_in TO sink_reader")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    environ = {**stack.env, "PYTHONPATH": str(site)}
    with run_runner(environ, tmp_path / "log", mappings=4):
        warehouse.execute("INSERT INTO trap.dropped_in VALUES (77, 'arrived')")
        query = "SELECT label FROM dropped_in WHERE id = 77"
        eventually(lambda: fetch_row(portal, query) == ("arrived",))
