"""Options that every command of both programs has."""

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from ..support.pages import PAGES
from .test_command_line import PROGRAMS, all_commands

ROOT = Path(__file__).parents[2]
# Commands that act, serve or stream, and print neither a table nor a state.
ACTING = {
    *("sink-runner run", "sink-runner api", "sink-runner api-key new", "sink-runner new"),
    *("sink-runner dlq export", "sink-runner policies pull", "sink-runner policies push"),
    *("sink-runner migrate", "sink-runner grants", "sink-runner pause", "sink-runner resume"),
    *("sink-runner replay", "sink-runner resync"),
    *("sink-runner schema pull", "sink-runner schema accept", "sink-runner demo load"),
    *("sink-stack up", "sink-stack airflow", "sink-stack down", "sink-stack logs"),
    *("sink-stack stop", "sink-stack start", "sink-stack restart", "sink-stack psql"),
    *("sink-stack backup", "sink-stack restore", "sink-stack clean", "sink-stack init"),
    *("sink-stack debezium", "sink-stack monitoring", "sink-stack topics"),
}
WITHOUT_A_STACK = (
    "sink-runner plugins",
    "sink-runner config",
    "sink-runner schedule",
    "sink-runner policies check",
    "sink-runner policies show --group smart_citizen",
)

_COMMAND = re.compile(
    r"(?:`|^\$ )((?:sink-runner|sink-stack) [a-z][^`\n]*?)(?:`|\s*[&|>]|\s+#|$)", re.MULTILINE
)


def documented_commands() -> list[str]:
    """Return the commands in the documentation, except abridged ones."""
    commands = {
        command for page in PAGES for command in _COMMAND.findall(page.read_text(encoding="utf-8"))
    }
    return sorted(command for command in commands if not re.search(r"\[|…|\.\.\.", command))


@pytest.fixture(scope="module")
def commands():
    """The commands without subcommands."""
    return {
        name: command
        for name, command in all_commands().items()
        if not isinstance(command, click.Group)
    }


def parse(command: click.Command, arguments: list[str], parent: click.Context | None = None):
    """Parse the arguments of the command and its subcommands without running them."""
    with command.make_context(command.name, arguments, parent=parent) as ctx:
        rest = [*ctx._protected_args, *ctx.args]
        if isinstance(command, click.Group):
            _, inner, rest = command.resolve_command(ctx, rest)
            parse(inner, rest, ctx)


def run(command: str, **options) -> subprocess.CompletedProcess:
    program, *arguments = command.split()
    path = Path(sys.executable).with_name(program)
    return subprocess.run(
        [path, *arguments], capture_output=True, text=True, cwd=ROOT, check=False, **options
    )


def test_every_command_that_prints_a_state_offers_json(commands):
    with_json = {
        name
        for name, command in commands.items()
        if any("--json" in param.opts for param in command.params)
    }
    assert commands.keys() - with_json == ACTING


@pytest.mark.parametrize("command", WITHOUT_A_STACK)
def test_json_is_valid_without_a_stack(commands, command):
    assert any(command.startswith(name) for name in commands)
    result = run(f"{command} --json")
    assert json.loads(result.stdout), result.stderr


def test_json_of_configuration_hides_secrets_and_names_sources(monkeypatch):
    monkeypatch.setenv("SINK_API_SECRET", "s3cr3t-of-the-api")
    result = run("sink-runner config --json")
    assert "s3cr3t-of-the-api" not in result.stdout
    keys = {setting["key"]: setting for setting in json.loads(result.stdout)}
    assert keys["api.secret"]["values"] == [
        {"key": "api.secret", "value": "***", "source": "from env SINK_API_SECRET"}
    ]
    assert keys["kafka.bootstrap"]["required"]


@pytest.mark.parametrize("command", documented_commands())
def test_documented_command_exists(command):
    """A command that the documentation only mentions may lack required arguments."""
    program, *arguments = shlex.split(re.sub(r"\bID\b", "1", command))
    with suppress(
        click.MissingParameter, click.exceptions.NoArgsIsHelpError, click.exceptions.Exit
    ):
        parse(PROGRAMS[program], arguments)


@pytest.mark.parametrize("program", PROGRAMS)
def test_version_is_that_of_distribution(program):
    assert run(f"{program} --version").stdout == f"{program} {version(program)}\n"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(program, shell):
    variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
    assert f"{variable}={shell}_complete" in run(f"{program} --completion {shell}").stdout


def test_bash_completes_commands_and_options():
    script = run("sink-runner --completion bash").stdout
    function = re.search(r"complete .*-F (\S+) sink-runner", script)[1]
    lines = [
        f"COMPREPLY=(); COMP_WORDS=(sink-runner {words}); COMP_CWORD={last}; "
        f'{function} sink-runner; echo "${{COMPREPLY[*]}}"\n'
        for words, last in (("sch", 1), ("plugins --ch", 2), ("dlq re", 2))
    ]
    result = subprocess.run(
        ["bash", "-c", script + "\n" + "".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert [set(line.split()) for line in result.stdout.splitlines()] == [
        {"schedule", "schema"},
        {"--chain"},
        {"replay", "rekey"},
    ]
