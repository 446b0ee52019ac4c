"""What every command of both programs offers."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest
from sink_stack import cli as stack_cli

from sink_runner.cli import program

from ..support.pages import PAGES

ROOT = Path(__file__).parents[2]
PROGRAMS = {"sink-runner": program.command_parser, "sink-stack": stack_cli.command_parser}
# They act, serve or stream, and print no table or state.
ACTING = {
    *("sink-runner run", "sink-runner api", "sink-runner api-key new", "sink-runner new"),
    *("sink-runner dlq export", "sink-runner policies pull", "sink-runner policies push"),
    *("sink-runner migrate", "sink-runner grants"),
    *("sink-runner schema pull", "sink-runner schema accept", "sink-runner demo load"),
    *("sink-stack up", "sink-stack airflow", "sink-stack down", "sink-stack logs"),
    *("sink-stack stop", "sink-stack start", "sink-stack restart", "sink-stack psql"),
    *("sink-stack backup", "sink-stack restore", "sink-stack clean", "sink-stack init"),
    "sink-stack debezium",
}
WITHOUT_A_STACK = (
    "sink-runner plugins",
    "sink-runner config",
    "sink-runner schedule",
    "sink-runner policies check",
    "sink-runner policies show --group smart_citizen",
)

_SHOWN = re.compile(
    r"(?:`|^\$ )((?:sink-runner|sink-stack) [a-z][^`\n]*?)(?:`|\s*[&|]|\s+#|$)", re.MULTILINE
)


def shown() -> list[str]:
    """The commands in the documentation, but for those that are abridged."""
    found = {one for page in PAGES for one in _SHOWN.findall(page.read_text(encoding="utf-8"))}
    return sorted(one for one in found if not re.search(r"\[|…|\.\.\.", one))


def leaves(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.Namespace]]:
    """Every command that has no commands of its own, with its parser."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not inner:
        yield name, parser
    for action in inner:
        for word, command in action.choices.items():
            yield from leaves(command, f"{name} {word}")


@pytest.fixture(scope="module")
def commands():
    return {
        name: command
        for program, parser in PROGRAMS.items()
        for name, command in leaves(parser(), program)
    }


def run(command: str, **options) -> subprocess.CompletedProcess:
    program, *arguments = command.split()
    path = Path(sys.executable).with_name(program)
    return subprocess.run(
        [path, *arguments], capture_output=True, text=True, cwd=ROOT, check=False, **options
    )


def test_every_command_that_prints_a_state_offers_json(commands):
    offer = {name for name, one in commands.items() if "--json" in one._option_string_actions}
    assert commands.keys() - offer == ACTING


@pytest.mark.parametrize("command", WITHOUT_A_STACK)
def test_json_is_valid_without_a_stack(commands, command):
    assert any(command.startswith(name) for name in commands)
    told = run(f"{command} --json")
    assert json.loads(told.stdout), told.stderr


def test_json_of_configuration_hides_secrets_and_names_sources(monkeypatch):
    monkeypatch.setenv("SINK_API_SECRET", "s3cr3t-of-the-api")
    told = run("sink-runner config --json")
    assert "s3cr3t-of-the-api" not in told.stdout
    keys = {one["key"]: one for one in json.loads(told.stdout)}
    assert keys["api.secret"]["values"] == [
        {"key": "api.secret", "value": "***", "source": "from env SINK_API_SECRET"}
    ]
    assert keys["kafka.bootstrap"]["required"]


@pytest.mark.parametrize("command", shown())
def test_documented_command_is_one(command, capsys):
    """A command that is only named may lack what it requires."""
    program, *arguments = shlex.split(re.sub(r"\bID\b", "1", command))
    with suppress(SystemExit):
        PROGRAMS[program]().parse_args(arguments)
    assert re.search("unrecognized|invalid|expected", capsys.readouterr().err) is None


@pytest.mark.parametrize("program", PROGRAMS)
def test_version_is_the_installed_one(program):
    assert run(f"{program} --version").stdout == f"{program} {version(program)}\n"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(program, shell):
    script = run(f"{program} --completion {shell}").stdout
    assert program in script
    assert re.search(r"\bstatus\b" if program == "sink-stack" else r"\bplugins\b", script)


def test_bash_completes_commands_and_options():
    script = run("sink-runner --completion bash").stdout
    function = re.search(r"complete .*-F (\S+) sink-runner", script)[1]
    ask = 'COMP_WORDS=({words}); COMP_CWORD={last}; {function}; echo "${{COMPREPLY[*]}}"\n'
    lines = [
        ask.format(words="sink-runner sch", last=1, function=function),
        ask.format(words="sink-runner plugins --ch", last=2, function=function),
    ]
    told = subprocess.run(
        ["bash", "-c", script + "\n" + "".join(lines)], capture_output=True, text=True, check=True
    )
    assert [set(line.split()) for line in told.stdout.splitlines()] == [
        {"schedule", "schema"},
        {"--chain"},
    ]
