"""The command line: output, errors and exit codes."""

import re
import subprocess
import sys

import click
import pytest

from sink_runner.batch.session import BUSY
from sink_runner.cli.command import EX_CONFIG, FAILURE, OK
from sink_runner.cli.program import SECTIONS
from sink_runner.cli.wait_for import TIMED_OUT

COMMANDS = ("plugins", "run", "schedule", "config", "quality", "new")

pytestmark = pytest.mark.usefixtures("configured")

# -- help and usage ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_command_has_example(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert re.search(rf"examples?:\n(.*\n)*?  sink-runner {command}", out)


def test_help_lists_the_commands(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(re.search(rf"^  {command} ", out, re.MULTILINE) for command in COMMANDS)


def test_help_groups_commands_by_task(call, site):
    install_command(site, GREET)
    out = call("--help")[1]
    titles = re.findall(r"^([A-Z].*):\n  [a-z]", out, re.MULTILINE)
    assert titles == [*SECTIONS, "Commands of other packages"]
    assert "Inspect:\n  status     Show the state of each mapping" in out


def test_help_lists_exit_codes(call):
    listed = call("--help")[1].partition("exit codes:\n")[2]
    codes = [int(code) for code in re.findall(r"^  (\d+) ", listed, re.MULTILINE)]
    assert codes == [OK, FAILURE, click.UsageError.exit_code, TIMED_OUT, BUSY, EX_CONFIG, 130]


@pytest.mark.parametrize(
    ("argv", "advice"),
    [
        ([], "Operate a mapping:"),
        (["plugns"], "Did you mean 'plugins'?"),
        (["plugins", "--jsn"], "Did you mean '--json'?"),
        (["new", "x"], "Try 'sink-runner new --help' for help."),
        (["plugins", "--json", "--chain", "x"], "give only one of --json and --chain"),
        (["schedule", "--once", "--list"], "give only one of --once and --list"),
        (["audit", "--most", "0"], "expected a number from 1 to"),
        (["audit", "--since", "today"], "expected a date such as 2026-01-31, got 'today'"),
        (["batch", "x", "--since", "now"], "expected a time such as 2026-01-31T12:00, got 'now'"),
        (["dlq", "replay", "--timeout", "nan"], "expected a non-negative number of seconds"),
    ],
)
def test_usage_error_contains_advice(call, argv, advice):
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert advice in err


LIST_MODULES = """
import sys
from sink_runner.cli import main
main(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("sink_runner.") or name == "psycopg"))
"""


def test_help_imports_no_command():
    """The module `cli.arguments` is imported by `demo` of sink-stack, whose summary is printed."""
    result = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, "--help"], capture_output=True, text=True, check=True
    )
    modules = ("cli", "cli.arguments", "cli.command", "cli.program", "completion", "error_text")
    expected = {f"sink_runner.{name}" for name in (*modules, "errors")}
    assert set(result.stdout.splitlines()[-1].split()) == expected


# -- config ------------------------------------------------------------------------------------


def test_config_prints_every_setting_and_no_secret(call, tmp_path):
    code, out, _ = call("config")
    assert code == 0
    assert out.startswith(f"# {tmp_path / 'sink-runner.toml'}\n")
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert "databases.north.dsn = ***  # from env NORTH" in out
    assert "batch.max_rows  (an integer, default 5000)" in out
    assert "hunter2" not in out


def test_config_hides_arguments_of_command(call, configured):
    path = configured()
    path.write_text(
        path.read_text().replace('"dbname=north"', '{ command = ["echo", "dbname=hunter2"] }')
    )
    code, out, _ = call("config")
    assert code == 0
    assert "databases.north.reader_dsn = ***  # from command ['echo']" in out
    assert "hunter2" not in out


def test_config_prints_no_secret_of_kafka(call, configured):
    security = """
[kafka.security]
protocol = "SASL_SSL"
mechanism = "OAUTHBEARER"
[kafka.security.oauth]
token = "hunter2"
[kafka.options.librdkafka]
"ssl.engine.id" = "hunter2"
"""
    configured(more=security)
    code, out, err = call("config")
    assert code == 0, err
    assert "kafka.security.oauth.token = ***" in out
    assert "kafka.options = ***" in out
    assert "hunter2" not in out + err


def test_config_prints_valid_part_and_errors(call, configured):
    path = configured()
    path.write_text(path.read_text().replace(', default = "password=hunter2"', ""))
    code, out, err = call("config")
    assert code == 78
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert err == ("sink-runner: databases.north.dsn: environment variable NORTH is not set\n")


@pytest.mark.parametrize("before", [True, False])
def test_config_option_may_precede_or_follow_command(call, configured, tmp_path, before):
    path = configured().rename(tmp_path / "other.toml")
    option = ("--config", str(path))
    code, out, _ = call(*option, "config") if before else call("config", *option)
    assert code == 0
    assert out.startswith(f"# {path}")


def test_missing_configuration_is_reported(call, configured, monkeypatch):
    configured().unlink()
    monkeypatch.chdir("/")
    code, _, err = call("config")
    assert code == 78
    assert err.startswith("sink-runner: no sink-runner.toml here or in a parent folder")


# -- run ---------------------------------------------------------------------------------------


def test_run_reports_all_broken_plugins_before_start(site, call, configured):
    site.mapping("apples", source="nowhere")
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, err = call("run")
    assert (code, out) == (78, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        "plugin 'apples'",
        "plugin 'pears'",
    ]


def test_run_needs_a_mapping(site, call, configured):
    site.mapping("apples")
    configured("apples")
    code, _, err = call("run", "--without", "apples")
    assert code == 78
    assert "no plugin with a mapping is on" in err


def test_run_reports_mappings_without_events(site, call, configured):
    site.nightly("nightly")
    configured("nightly")
    code, _, err = call("run")
    assert code == 78
    assert "no mapping that is on reads events: `sink-runner batch`" in err


def test_run_reports_configuration_errors(call, configured):
    configured(more="[batch]\nmax_rows = 0")
    assert call("run")[::2] == (78, "sink-runner: batch.max_rows is less than 1\n")


# -- commands of other distributions -----------------------------------------------------------

GREET = """
import click

@click.command()
def greet():
    '''Say hello.'''
    print("hello")
    return 3
"""
RAISE = """
import click
from sink_runner.errors import EventError, SinkError

@click.command()
def greet():
    raise {what}
"""


def install_command(site, code: str, name: str = "greet") -> None:
    site.plugin(name, code, group="sink_runner.commands", attribute="greet")


def test_distribution_can_add_command(site, call):
    install_command(site, GREET)
    assert call("greet") == (3, "hello\n", "")


def test_help_lists_commands_of_other_distributions(site, call):
    install_command(site, GREET)
    assert "  greet      Say hello." in call("--help")[1].splitlines()


@pytest.mark.parametrize(
    ("code", "name"),
    [("import nope_nope", "greet"), ("greet = print", "greet"), (GREET, "run")],
)
def test_help_says_why_command_is_missing(site, call, code, name):
    install_command(site, code, name)
    status, out, err = call("--help")
    assert (status, "hello" in out) == (0, False)
    assert err.startswith(f"sink-runner: command {name!r} of sink-{name} 1.5 is left out: ")
    assert len(err.splitlines()) == 1


def test_broken_command_exits_with_78(site, call):
    install_command(site, "import nope_nope")
    code, out, err = call("greet")
    assert (code, out) == (78, "")
    assert err.startswith("sink-runner: command 'greet' of sink-greet 1.5 is left out: ")


def test_broken_command_does_not_affect_others(site, call):
    install_command(site, "import nope_nope")
    assert call("plugins")[::2] == (0, "")


def test_error_is_one_line_with_exit_1(site, call):
    install_command(site, RAISE.format(what="SinkError('the disk is full')"))
    assert call("greet") == (1, "", "sink-runner: the disk is full\n")


def test_statements_in_error_are_on_own_lines(site, call):
    install_command(site, RAISE.format(what=r"SinkError('run this:\n  ALTER TABLE a OWNER TO b;')"))
    assert call("greet") == (1, "", "sink-runner: run this:\n  ALTER TABLE a OWNER TO b;\n")


def test_unavailable_database_is_reported_with_advice(call, configured, site, monkeypatch):
    site.mapping("apples", target="north.public.t")
    configured("apples")
    monkeypatch.setenv("NORTH", "host=127.0.0.1 port=1 dbname=north user=sink")
    code, out, err = call("pause", "apples", "--reason", "rebuild")
    assert (code, out) == (1, "")
    assert err.startswith("sink-runner: no connection to database north at 127.0.0.1:1 as sink")
    assert "RetriableError" not in err
    assert "`sink-runner doctor`" in err


@pytest.mark.parametrize("what", ["EventError('9829012345')", "ValueError('9829012345')"])
def test_error_that_may_contain_values_prints_class(site, call, what):
    install_command(site, RAISE.format(what=what))
    code, out, err = call("greet")
    assert (code, out) == (1, "")
    assert what.split("(", maxsplit=1)[0] in err
    assert "9829012345" not in err
    assert "Traceback" not in err


def test_interrupted_command_exits_with_130(site, call):
    install_command(site, RAISE.format(what="KeyboardInterrupt"))
    assert call("greet")[0] == 130


def test_closed_pipe_is_not_an_error():
    command = [sys.executable, "-m", "sink_runner", "config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert (running.stderr.read(), running.wait()) == (b"", 0)
