"""What Debezium is started with, and what the runner knows about it."""

from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sink_runner.kafka.capture import read_capture
from sink_runner.plugin import Table

from sink_stack import cli, envfile, settings
from sink_stack.debezium import Debezium, write_properties
from sink_stack.layout import Layout
from sink_stack.programs import Programs


def included(home, table):
    """Whether the runner finds the table where the environment sends it."""
    settings.prepare(home, {}, lambda _: False)
    assert envfile.load(home.settings)["SINK_CAPTURE"] == str(home.capture)
    found = read_capture(home.capture, "smart_warehouse")
    return found.captures(Table.parse(f"smart_warehouse.{table}"))


def test_copied_properties_hold_the_tables_of_this_start(home):
    write_properties(home, {"warehouse": ["trap.Odd Items"]})
    assert included(home, "trap.Odd Items")
    assert included(home, "public.golden_records")
    write_properties(home, {})
    assert not included(home, "trap.Odd Items")


def test_copied_properties_are_otherwise_those_of_the_repository(home):
    write_properties(home, {"warehouse": ["trap.toast"]})
    for path in home.debezium.glob("*.properties"):
        copy = (home.capture / path.name).read_text()
        assert copy.startswith(path.read_text())
        assert ("trap.toast" in copy) == (path.name == "warehouse.properties")


def test_locations_are_uris_where_path_holds_blank(home, tmp_path):
    """Debezium Server ends with "Illegal character in path" where they are not."""
    where = Layout(root=home.root, home=tmp_path / "a home", cache=home.cache)
    where.make()
    (where.home / "server").mkdir()
    (where.home / "server" / "debezium-server-runner.jar").touch()
    programs = Programs(**{one.name: where.home / "server" for one in fields(Programs)})
    prepared = settings.prepare(where, {}, lambda _: False)
    argv = Debezium(where, prepared, programs, "warehouse").command().argv
    option = "-Dquarkus.config.locations="
    (completed,) = [one.removeprefix(option) for one in argv if one.startswith(option)]
    assert " " not in completed
    paths = [Path(unquote(urlsplit(one).path)) for one in completed.split(",")]
    assert paths == [where.capture / "common.properties", where.capture / "warehouse.properties"]


def test_server_for_own_properties_names_a_missing_file(capsys):
    assert cli.main(["debezium", "nowhere.properties"]) == 1
    assert capsys.readouterr().err == "sink-stack: no file nowhere.properties\n"
