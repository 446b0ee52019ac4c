"""The properties with which Debezium starts, and what the runner reads of them."""

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
    """Return whether the runner finds the table in the properties that the environment names."""
    settings.prepare(home, {}, lambda _: False)
    assert envfile.load(home.settings)["SINK_CAPTURE"] == str(home.capture)
    found = read_capture(home.capture, "smart_warehouse")
    return found.captures(Table.parse(f"smart_warehouse.{table}"))


def test_copied_properties_list_tables_of_this_start(home):
    write_properties(home, {"warehouse": ["trap.Odd Items"]})
    assert included(home, "trap.Odd Items")
    assert included(home, "public.golden_records")
    write_properties(home, {})
    assert not included(home, "trap.Odd Items")


def test_other_properties_are_those_of_repository(home):
    write_properties(home, {"warehouse": ["trap.toast"]})
    for path in home.debezium.glob("*.properties"):
        copy = (home.capture / path.name).read_text()
        assert copy.startswith(path.read_text())
        assert ("trap.toast" in copy) == (path.name == "warehouse.properties")


def test_paths_with_blanks_are_uris(home, tmp_path):
    """Otherwise Debezium Server exits with "Illegal character in path"."""
    where = Layout(root=home.root, home=tmp_path / "a home", cache=home.cache)
    where.make()
    (where.home / "server").mkdir()
    (where.home / "server" / "debezium-server-runner.jar").touch()
    programs = Programs(**{field.name: where.home / "server" for field in fields(Programs)})
    prepared = settings.prepare(where, {}, lambda _: False)
    argv = Debezium(where, prepared, programs, "warehouse").command().argv
    option = "-Dquarkus.config.locations="
    (completed,) = [text.removeprefix(option) for text in argv if text.startswith(option)]
    assert " " not in completed
    paths = [Path(unquote(urlsplit(uri).path)) for uri in completed.split(",")]
    assert paths == [where.capture / "common.properties", where.capture / "warehouse.properties"]


def test_missing_properties_file_is_named(capsys):
    assert cli.main(["debezium", "nowhere.properties"]) == 1
    assert capsys.readouterr().err == "sink-stack: file not found: nowhere.properties\n"
