"""The command `sink-stack`."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import psycopg
from rich.console import Console
from sink_runner.completion import completion_option
from sink_runner.config import FILE, find_file, load
from sink_runner.errors import ConfigError
from sink_runner.kafka.connection import KafkaConnection

from . import (
    debezium,
    engine,
    envfile,
    initialise,
    layout,
    logs,
    orphans,
    psql,
    show,
    status,
    topics,
)
from .errors import StackError
from .programs import Installer
from .progress import Reporter
from .settings import DATABASES
from .stack import Options, Stack, sink_runner

_DOWN = 3
_INTERRUPTED = 130
_SINKS = {"runner": "run", "api": "api", "schedule": "schedule"}


@click.group(context_settings={"show_default": True})
@click.version_option(package_name="sink-stack", message="%(prog)s %(version)s")
@completion_option
def program() -> None:
    """Start, stop and inspect the whole stack on this machine."""


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return int(program.main(argv, prog_name="sink-stack", standalone_mode=False) or 0)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except StackError as exc:
        print(f"sink-stack: {exc}", file=sys.stderr)
        return 1
    except click.Abort:  # click raises it for Ctrl-C
        return _INTERRUPTED


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@program.command("up")
@click.option("--no-runner", is_flag=True, help="Without the sink runner, its API and schedule.")
@click.option("--demo", is_flag=True, help="Load data if the databases are empty.")
def _up(*, no_runner: bool, demo: bool) -> None:
    """Install what is missing and start the stack."""
    stack = _stack()
    for name in orphans.uninstall():
        print(f"uninstalled {name}: its folder is gone")
    if compose := _compose(stack):
        compose.up(with_runner=not no_runner)
    else:
        stack.up(Options() if no_runner else _runner_options())
    if demo:
        _load_demo(stack)


@program.command("airflow")
def _airflow() -> None:
    """Let Apache Airflow run the schedules of the stack."""
    stack = _stack()
    if compose := _compose(stack):
        compose.run("--profile", "airflow", "up", "--detach", "--build", "--wait", "airflow")
        compose.run("stop", "schedule")
    else:
        stack.up_airflow()


@program.command("monitoring")
def _monitoring() -> None:
    """Start Prometheus and Alertmanager; Grafana as well in containers."""
    stack = _stack()
    if compose := _compose(stack):
        compose.run("--profile", "monitoring", "up", "--detach", "--wait", *engine.MONITORING)
    else:
        stack.up_monitoring()


@program.command("down")
def _down() -> None:
    """Stop what `up` started; data stays."""
    stack = _stack()
    if compose := _compose(stack):
        compose.run("--profile", "*", "down")
    else:
        stack.down()


@program.command("status")
@json_option
def _status(*, as_json: bool) -> int:
    """Print the state of each part, and the lag."""
    stack = _stack()
    if compose := _compose(stack):
        compose.run("ps", "--all")
        return 0
    if as_json:
        print(status.as_json(stack))
    else:
        status.show(stack, Console())
    up = all(part.up for part in status.parts(stack, stack.settings))
    return 0 if up and not status.broken(stack.settings) else _DOWN


@program.command("logs")
@click.argument("part", required=False)
@click.option("--follow", "-f", is_flag=True, help="Print new lines as they are written.")
@click.option("--lines", "-n", type=int, default=100, help="Last lines of each.")
def _logs(*, part: str | None, follow: bool, lines: int) -> None:
    """Print what the parts wrote.

    PART is postgres, kafka, registry, warehouse, citizen, runner, api or schedule.
    """
    where = layout.find(os.environ)
    if engine.chosen(where, os.environ) == "compose":
        engine.Compose(where, os.environ).logs(part, lines, follow=follow)
        return
    paths = logs.files(where, part)
    for path in paths:
        if part is None:
            print(f"==> {path.stem} <==")
        for line in logs.tail(path, lines):
            print(line)
    if follow:
        for name, line in logs.follow(paths):
            print(line if part else f"{name}: {line}", flush=True)


@program.command("stop")
@click.argument("parts", metavar="PART...", nargs=-1, required=True)
def _stop(*, parts: tuple[str, ...]) -> None:
    """Stop some parts, named as by `logs`; `up` starts them again."""
    _stack().supervisor.stop(*parts)


@program.command("start")
@click.argument("part", type=click.Choice([*_SINKS]))
def _start(*, part: str) -> None:
    """Start one program of the sink, and no other part."""
    _stack().up_sinks({part: sink_runner(_SINKS[part])})


@program.command("restart")
@click.argument("parts", metavar="[PART]...", nargs=-1)
def _restart(*, parts: tuple[str, ...]) -> None:
    """Stop parts (runner, api and schedule if none is named), and start what does not run."""
    stack, chosen = _stack(), list(parts or _SINKS)
    if compose := _compose(stack):
        compose.run("restart", *chosen)
    else:
        stack.restart(chosen, _runner_options())


@program.command("psql")
@click.argument("database", type=click.Choice([*DATABASES.values()]))
@click.argument("arguments", metavar="[-- ARGUMENT]...", nargs=-1)
def _psql(*, database: str, arguments: tuple[str, ...]) -> int:
    """Open psql on one of the databases, as its administrator.

    Arguments after -- are passed to psql.
    """
    return psql.run(_stack(), database, list(arguments), os.environ)


@program.command("debezium")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def _debezium(*, files: tuple[Path, ...]) -> None:
    """Run a Debezium Server for a database of your own; FILE has its properties."""
    if missing := [str(path) for path in files if not path.is_file()]:
        raise StackError(f"file not found: {', '.join(missing)}")
    where = layout.find(os.environ)
    where.make()
    versions = envfile.load(where.root / "compose" / "versions.env")
    installed = Installer(where, versions, os.environ).install(Reporter())
    argv = debezium.server_argv(installed, list(files))
    # It replaces this process, so that a signal reaches the server.
    os.execve(argv[0], argv, dict(os.environ))  # noqa: S606 - no shell is needed


@program.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
def _backup(*, folder: Path) -> None:
    """Copy the running PostgreSQL cluster to FOLDER, which must not exist."""
    _stack().back_up(folder)


@program.command("restore")
@click.argument("database")
@click.argument("folder", type=click.Path(path_type=Path))
def _restore(*, database: str, folder: Path) -> None:
    """Restore one database from what `backup` wrote, on a server of its own."""
    _stack().restore(database, folder)


@program.command("clean")
def _clean() -> None:
    """Stop the stack and delete its data; downloads stay."""
    where = layout.find(os.environ)
    if not where.settings.exists():
        return  # never a folder that no stack made
    stack = Stack(where, os.environ)
    if compose := _compose(stack):
        compose.run("--profile", "*", "down", "--volumes")
    stack.clean()


@program.command("env")
@json_option
def _env(*, as_json: bool) -> None:
    """Print the variables that programs need, for `eval`."""
    variables = _stack().environment()
    if as_json:
        print(json.dumps(variables, indent=2))
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


@program.command("show")
@json_option
def _show(*, as_json: bool) -> None:
    """Change a row on each side and show it arrive on the other."""
    found = show.show(_stack().settings, Console(stderr=as_json))
    if as_json:
        print(json.dumps([one.record() for one in found], indent=2, default=str))
    else:
        for one in found:
            show.print_arrival(one, Console())


@program.command("init")
def _init() -> None:
    """Fill the databases and create the topics of a compose stack."""
    initialise.run(layout.find(os.environ), os.environ)


@program.command("topics")
@click.option(
    "--override",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of the form of compose/topics.toml, whose values replace those of that file.",
)
def _topics(*, override: Path | None) -> None:
    """Create the topics of compose/topics.toml on a Kafka of your own.

    The connection is [kafka] of sink-runner.toml, or of the file that SINK_CONFIG names.
    compose/kubernetes/production/topics.toml is an override for three brokers.
    """
    where = layout.find(os.environ)
    file = find_file(Path.cwd(), os.environ)
    if file is None:
        raise StackError(f"no {FILE} in this folder or above it: set SINK_CONFIG")
    wanted = topics.declared(where.topics, override)
    try:
        kafka = KafkaConnection.of(load(file).config().kafka)
        created = topics.create(kafka, wanted)
    except ConfigError as fault:
        raise StackError(f"{file}: {fault}") from None
    print(f"created {created} topics; {len(wanted) - created} existed")


def _stack() -> Stack:
    return Stack(layout.find(os.environ), os.environ)


def _compose(stack: Stack) -> engine.Compose | None:
    """Return Docker Compose if the stack runs in containers."""
    if engine.chosen(stack.layout, os.environ) == "compose":
        return engine.Compose(stack.layout, os.environ)
    return None


def _runner_options() -> Options:
    return Options(
        runner=sink_runner("run"), api=sink_runner("api"), schedule=sink_runner("schedule")
    )


def _load_demo(stack: Stack) -> None:
    """Load the demonstration data unless the databases already have rows."""
    with psycopg.connect(stack.settings.admin_dsn("smart_warehouse")) as connection:
        if connection.execute("SELECT 1 FROM public.golden_records LIMIT 1").fetchone():
            return
    command = sink_runner("demo", "load")
    completed = subprocess.run(command, env={**os.environ, **stack.environment()}, check=False)
    if completed.returncode:
        raise StackError("the demonstration data could not be loaded")
