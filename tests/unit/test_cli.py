"""The command line: what is printed, where, and with which exit code."""

import re
import subprocess
import sys

import pytest

COMMANDS = ("plugins", "run", "schedule", "config", "quality", "new")

pytestmark = pytest.mark.usefixtures("configured")

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


# -- config ------------------------------------------------------------------------------------


def test_config_prints_every_key_and_no_secret(call, tmp_path):
    code, out, _ = call("config")
    assert code == 0
    assert out.startswith(f"# {tmp_path / 'sink-runner.toml'}\n")
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert "databases.north.dsn = ***  # from env NORTH" in out
    assert "batch.max_rows  (an integer, default 5000)" in out
    assert "hunter2" not in out


def test_config_hides_the_arguments_of_a_command(call, configured):
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


def test_config_prints_what_it_can_and_tells_what_is_wrong(call, configured):
    path = configured()
    path.write_text(path.read_text().replace(', default = "password=hunter2"', ""))
    code, out, err = call("config")
    assert code == 78
    assert 'kafka.bootstrap = "127.0.0.1:9092"' in out
    assert err == ("sink-runner: databases.north.dsn: environment variable NORTH is not set\n")


@pytest.mark.parametrize("before", [True, False])
def test_file_may_be_named_before_and_after_command(call, configured, tmp_path, before):
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


def test_run_with_mappings_that_read_no_events_says_so(site, call, configured):
    site.nightly("nightly")
    configured("nightly")
    code, _, err = call("run")
    assert code == 78
    assert "no mapping that is on reads events: `sink-runner batch`" in err


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


def test_statements_of_an_error_can_be_pasted(site, call):
    command(site, RAISE.format(what=r"SinkError('run this:\n  ALTER TABLE a OWNER TO b;')"))
    assert call("greet") == (1, "", "sink-runner: run this:\n  ALTER TABLE a OWNER TO b;\n")


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


def test_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "sink_runner", "config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert (running.stderr.read(), running.wait()) == (b"", 0)
