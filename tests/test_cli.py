"""The command line: what is printed, where, and with which exit code."""

import json
import re
from pathlib import Path

import pytest

from sink_runner.cli import main

CONFIG = """
[kafka]
bootstrap = "127.0.0.1:9092"
[registry]
url = "http://127.0.0.1:8081"
[databases.north]
dsn = { env = "NORTH", default = "password=hunter2" }
reader_dsn = "dbname=north"
[dead_letters]
key = "hunter2"
key_id = "one"
[plugins]
"""
CONFIGURED = """
from dataclasses import dataclass, field
from sink_runner.plugin import hookimpl

@dataclass(frozen=True)
class Settings:
    limit: int = field(default=5, metadata={"doc": "How many."})
    pin: str = field(default="", repr=False)

@hookimpl
def sink_config():
    return Settings

@hookimpl
def sink_filter(event):
    ...
"""
HOOKS = "from sink_runner.plugin import hookimpl\n"
COMMANDS = ("plugins", "run", "config", "new")


@pytest.fixture
def call(capsys):
    """Call the command and return (exit code, stdout, stderr)."""
    other = re.compile(r"sink-runner: command '(?!greet').* is left out: .*\n")

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            code = main(argv)
        except SystemExit as exit_:  # argparse leaves this way
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, other.sub("", captured.err)

    return call


@pytest.fixture(autouse=True)
def configured(tmp_path, monkeypatch):
    """Stand in a folder whose configuration turns on the plugins that are given."""

    def write(*enabled: str, disabled: tuple[str, ...] = (), more: str = "") -> Path:
        path = tmp_path / "sink-runner.toml"
        lists = f"enabled = {list(enabled)}\ndisabled = {list(disabled)}\n"
        path.write_text(CONFIG + lists + more)
        return path

    for name in ("SINK_PLUGINS", "SINK_PLUGINS_OFF", "SINK_CONFIG", "NORTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write()
    return write


def line_of(name: str, text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line


# -- help and usage ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_with_an_example(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert re.search(rf"examples?:\n(.*\n)*?  sink-runner {command}", out)


def test_help_lists_the_commands(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(re.search(rf"^    {command} ", out, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("argv", [[], ["plugin"], ["plugins", "--jsn"], ["new", "x"]])
def test_wrong_usage_ends_with_2(call, argv):
    assert call(*argv)[0] == 2


# -- plugins: on and off -----------------------------------------------------------------------


def states(call, *argv: str) -> dict[str, str]:
    code, out, err = call("plugins", "--json", *argv)
    assert (code, err) == (0, "")
    known = [record for record in json.loads(out) if record["name"] in ("apples", "pears")]
    return {record["name"]: record["status"] for record in known}


def test_each_of_the_three_ways_turns_a_plugin_off(site, call, configured, monkeypatch):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples", "pears")
    assert states(call) == {"apples": "on", "pears": "on"}
    assert states(call, "--without", "pears") == {"apples": "on", "pears": "off"}
    monkeypatch.setenv("SINK_PLUGINS_OFF", "apples")
    assert states(call) == {"apples": "off", "pears": "on"}
    monkeypatch.delenv("SINK_PLUGINS_OFF")
    configured("apples", "pears", disabled=("apples",))
    assert states(call) == {"apples": "off", "pears": "on"}


def test_the_environment_and_then_the_command_line_replace_what_is_on(
    site, call, configured, monkeypatch
):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples")
    monkeypatch.setenv("SINK_PLUGINS", "pears")
    assert states(call) == {"apples": "off", "pears": "on"}
    assert states(call, "--only", "apples") == {"apples": "on", "pears": "off"}


def test_off_beats_on_at_every_level(site, call, configured):
    site.mapping("apples")
    site.mapping("pears")
    configured("pears", disabled=("apples",))
    assert states(call, "--only", "apples,pears") == {"apples": "off", "pears": "on"}


def test_the_env_file_turns_plugins_on_and_off_as_well(site, call, configured, tmp_path):
    site.mapping("apples")
    site.mapping("pears")
    path = configured("apples", "pears")
    path.write_text('env_file = "stack.env"\n' + path.read_text())
    (tmp_path / "stack.env").write_text("SINK_PLUGINS_OFF=apples\n")
    assert states(call) == {"apples": "off", "pears": "on"}


@pytest.mark.parametrize("how", ["only", "without"])
def test_a_misspelt_name_is_told_in_one_line_with_the_nearest(site, call, how):
    site.mapping("apples")
    code, out, err = call("plugins", f"--{how}", "aples")
    assert (code, out) == (78, "")
    assert re.fullmatch(
        r"sink-runner: \w+ plugin 'aples' is not installed; did you mean 'apples'\?\n", err
    )


def test_a_plugin_that_is_off_may_be_beyond_import(site, call, configured):
    site.plugin("pears", "raise RuntimeError")
    configured("*", disabled=("pears",))
    _, out, _ = call("plugins")
    assert line_of("pears", out).split() == ["pears", "off", "1.5"]
    assert not site.was_imported("pears")


def test_what_is_on_and_broken_is_listed_with_its_fault_and_ends_with_78(site, call, configured):
    site.mapping("apples")
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert line_of("pears", out).split()[:2] == ["pears", "broken"]
    assert "    fault: ModuleNotFoundError: No module named 'nope_nope'" in out
    assert line_of("apples", out).split() == [
        *("apples", "on", "1.5", "north.public.apples", "->", "south.public.apples")
    ]


def test_an_incompatible_plugin_is_listed_and_only_a_fault_if_it_is_on(site, call, configured):
    site.plugin("pears", "raise RuntimeError", group="sink_runner.v2")
    code, out, _ = call("plugins")
    assert code == 0
    assert line_of("pears", out).split()[:2] == ["pears", "incompatible"]
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "fault: is made for sink_runner.v2" in out


def test_two_distributions_with_one_name_end_with_78(site, call, configured):
    site.mapping("pears")
    site.plugin("pears", "", dist="other-pears")
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "provided twice, by other-pears 1.5 and sink-pears 1.5" in out


def test_json_has_everything_a_program_may_want(site, call, configured):
    site.mapping("apples")
    configured("apples")
    _, out, _ = call("plugins", "--json")
    (record,) = [record for record in json.loads(out) if record["name"] == "apples"]
    assert record == {
        "name": "apples",
        "status": "on",
        "distribution": "sink-apples",
        "version": "1.5",
        "source": "north.public.apples",
        "target": "south.public.apples",
        "hooks": ["sink_mapping"],
        "errors": [],
    }


def test_plugins_are_listed_where_there_is_no_configuration(site, call, configured, monkeypatch):
    site.mapping("apples")
    configured().unlink()
    monkeypatch.setenv("SINK_PLUGINS", "apples")
    code, out, _ = call("plugins")
    assert code == 0
    assert line_of("apples", out).split()[1] == "on"


# -- plugins: chain and configuration ----------------------------------------------------------


def test_a_chain_is_printed_in_the_order_of_its_steps(site, call, configured):
    site.mapping("apples", code="\n@hookimpl\ndef sink_map(row): return row")
    site.plugin("zebra", HOOKS + "@hookimpl(tryfirst=True)\ndef sink_map(row): return row")
    site.plugin("ant", HOOKS + "@hookimpl\ndef sink_filter(event): ...")
    configured("apples", "zebra", "ant")
    code, out, _ = call("plugins", "--chain", "apples")
    assert code == 0
    head, *steps = [line.split(maxsplit=1)[1] for line in out.splitlines()]
    assert head == "north.public.apples -> south.public.apples"
    named = [" ".join(step.split()) for step in steps]
    assert named[:6] == [
        "(built in) drop what would go back to where it came from",
        "sink_filter ant",
        "(built in) read 1 declared columns: source, convert, default",
        "sink_map zebra, apples",
        "(built in) mask by policy, cut to max_length",
        "sink_mask -",
    ]
    assert "(built in) write, source wins" in named


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pears", "plugin 'pears' is off, so it is not imported"),
        ("aples", "plugin 'aples' is not installed; did you mean 'apples'?"),
        ("ant", "plugin 'ant' is global: it joins the chain of every mapping"),
        ("bad", "plugin 'bad': implements no hook; is @hookimpl missing?"),
    ],
)
def test_there_is_no_chain_of_what_is_not_a_mapping_that_is_on(
    site, call, configured, name, message
):
    site.mapping("apples")
    site.mapping("pears")
    site.plugin("ant", HOOKS + "@hookimpl\ndef sink_filter(event): ...")
    site.plugin("bad", "")
    configured("apples", "ant", "bad")
    assert call("plugins", "--chain", name) == (78, "", f"sink-runner: {message}\n")


def test_the_keys_of_a_plugin_are_printed_with_values_but_secrets(site, call, configured):
    site.plugin("ant", CONFIGURED)
    configured("ant", more='[plugins.ant]\nlimit = 7\npin = "hunter2"')
    code, out, _ = call("plugins", "--config-of", "ant")
    assert code == 0
    assert out.splitlines() == [
        "plugins.ant.limit  (an integer, default 5)",
        "    # How many.",
        "    plugins.ant.limit = 7",
        'plugins.ant.pin  (a string, default "")',
        "    plugins.ant.pin = ***",
    ]


# -- config ------------------------------------------------------------------------------------


def test_config_prints_every_key_and_no_secret(call, tmp_path):
    code, out, _ = call("config")
    assert code == 0
    assert out.startswith(f"# {tmp_path / 'sink-runner.toml'}\n")
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert "databases.north.dsn = ***  # from env NORTH" in out
    assert "batch.max_rows  (an integer, default 2000)" in out
    assert "hunter2" not in out


def test_config_prints_what_it_can_and_tells_what_is_wrong(call, configured):
    path = configured()
    path.write_text(path.read_text().replace(', default = "password=hunter2"', ""))
    code, out, err = call("config")
    assert code == 78
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert err == ("sink-runner: databases.north.dsn: environment variable NORTH is not set\n")


@pytest.mark.parametrize("before", [True, False])
def test_the_file_may_be_named_before_and_after_the_command(call, configured, tmp_path, before):
    named = configured().rename(tmp_path / "other.toml")
    option = ("--config", str(named))
    code, out, _ = call(*option, "config") if before else call("config", *option)
    assert code == 0
    assert out.startswith(f"# {named}")


def test_a_configuration_that_is_nowhere_is_told(call, configured, monkeypatch):
    configured().unlink()
    monkeypatch.chdir("/")
    code, _, err = call("config")
    assert code == 78
    assert err.startswith("sink-runner: no sink-runner.toml here or in a parent folder")


# -- run ---------------------------------------------------------------------------------------


def test_run_tells_every_fault_of_every_plugin_before_it_starts(site, call, configured):
    site.mapping("apples", source="nowhere")
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, err = call("run")
    assert (code, out) == (78, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "plugin 'apples'",
        "plugin 'pears'",
    ]


def test_run_without_any_mapping_is_refused(site, call, configured):
    site.mapping("apples")
    configured("apples")
    code, _, err = call("run", "--without", "apples")
    assert code == 78
    assert "no plugin with a mapping is on" in err


def test_run_tells_what_is_wrong_with_the_configuration(call, configured):
    configured(more="[batch]\nmax_rows = 0")
    assert call("run")[::2] == (78, "sink-runner: batch.max_rows is less than 1\n")


# -- commands of other distributions -----------------------------------------------------------

GREET = """
def register(subparsers):
    parser = subparsers.add_parser("greet", help="say hello")
    parser.set_defaults(run=greet)

def greet(args):
    print("hello")
    return 3
"""
RAISE = """
from sink_runner.errors import EventError, SinkError

def register(subparsers):
    parser = subparsers.add_parser("greet")
    parser.set_defaults(run=greet)

def greet(args):
    raise {what}
"""


def command(site, code: str) -> None:
    site.plugin("greet", code, group="sink_runner.commands", attribute="register")


def test_another_distribution_may_bring_a_command(site, call):
    command(site, GREET)
    assert call("greet") == (3, "hello\n", "")


@pytest.mark.parametrize("code", ["import nope_nope", GREET.replace('"greet"', '"run"')])
def test_a_broken_command_is_told_and_left_out(site, call, code):
    command(site, code)
    status, _, err = call("plugins")
    assert status == 0
    assert err.startswith("sink-runner: command 'greet' of sink-greet 1.5 is left out: ")
    assert len(err.splitlines()) == 1


def test_an_error_of_the_runner_is_one_line_and_ends_with_1(site, call):
    command(site, RAISE.format(what="SinkError('the disk is full')"))
    assert call("greet") == (1, "", "sink-runner: the disk is full\n")


@pytest.mark.parametrize("what", ["EventError('9829012345')", "ValueError('9829012345')"])
def test_an_error_that_may_quote_a_row_is_told_by_its_class(site, call, what):
    command(site, RAISE.format(what=what))
    code, out, err = call("greet")
    assert (code, out) == (1, "")
    assert what.split("(", maxsplit=1)[0] in err
    assert "9829012345" not in err
    assert "Traceback" not in err


def test_an_interrupted_command_ends_with_130(site, call):
    command(site, RAISE.format(what="KeyboardInterrupt"))
    assert call("greet")[0] == 130
