"""The command `sink-stack`."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import psycopg
from rich.console import Console
from sink_runner.completion import SHELLS, Completion

from . import debezium, engine, envfile, initialise, layout, logs, orphans, psql, show, status
from .errors import StackError
from .programs import Installer
from .progress import Reporter
from .settings import DATABASES
from .stack import Options, Stack, sink_runner

Environ = Mapping[str, str]
Command = Callable[[argparse.Namespace, Environ], int]

_DOWN = 3
_SINKS = {"runner": "run", "api": "api", "schedule": "schedule"}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_parser().parse_args(argv)
    command: Command = arguments.function
    try:
        return command(arguments, os.environ)
    except StackError as exc:
        print(f"sink-stack: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(prog="sink-stack", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('sink-stack')}")
    parser.add_argument("--completion", action=Completion, choices=SHELLS, help=Completion.__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        return command

    up = add("up", _up, "install what is missing and start the stack")
    up.add_argument(
        "--no-runner", action="store_true", help="without the sink runner, its API and its schedule"
    )
    up.add_argument("--demo", action="store_true", help="load data if the databases are empty")
    add("airflow", _airflow, "let Apache Airflow run the schedules of the stack")
    add("down", _down, "stop what `up` started; data stays")
    _add_json(add("status", _status, "what runs, and how far behind it is"))
    told = add("logs", _logs, "print what the parts wrote")
    told.add_argument(
        "part",
        nargs="?",
        help="postgres, kafka, registry, warehouse, citizen, runner, api, schedule",
    )
    told.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    told.add_argument("-n", "--lines", type=int, default=100, help="last lines of each (100)")
    add("stop", _stop, "stop some parts; `up` starts them again").add_argument(
        "parts", nargs="+", metavar="PART", help="as `sink-stack logs` names them"
    )
    add("start", _start, "start one program of the sink, and nothing else").add_argument(
        "part", choices=tuple(_SINKS)
    )
    add("restart", _restart, "stop parts, and start what does not run").add_argument(
        "parts", nargs="*", metavar="PART", help=f"instead of {', '.join(_SINKS)}"
    )
    database = add("psql", _psql, "open psql on one of the databases, as its administrator")
    database.add_argument("database", choices=tuple(DATABASES.values()), metavar="DATABASE")
    database.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="passed to psql")
    capture = add("debezium", _debezium, "run a Debezium Server for a database of your own")
    capture.add_argument("files", nargs="+", type=Path, metavar="FILE", help="properties")
    add("backup", _backup, "copy the running PostgreSQL cluster").add_argument(
        "folder", type=Path, metavar="FOLDER", help="where to; it must not be there yet"
    )
    restored = add("restore", _restore, "bring one database back, on a server of its own")
    restored.add_argument("database", metavar="DATABASE")
    restored.add_argument("folder", type=Path, metavar="FOLDER", help="what `backup` wrote")
    add("clean", _clean, "stop the stack and delete its data; downloads stay")
    _add_json(add("env", _env, "print the variables that programs need, for `eval`"))
    _add_json(add("show", _show, "change a row on each side and show it arrive on the other"))
    add("init", _init, "fill the databases and create the topics of a compose stack")
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _stack(environ: Environ) -> Stack:
    return Stack(layout.find(environ), environ)


def _up(arguments: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    for name in orphans.uninstall():
        print(f"uninstalled {name}: its folder is gone")
    if engine.chosen(stack.layout, environ) == "compose":
        engine.Compose(stack.layout, environ).up(with_runner=not arguments.no_runner)
    else:
        stack.up(Options() if arguments.no_runner else _sinks())
    if arguments.demo:
        _load_demo(stack)
    return 0


def _sinks() -> Options:
    return Options(
        runner=sink_runner("run"), api=sink_runner("api"), schedule=sink_runner("schedule")
    )


def _load_demo(stack: Stack) -> None:
    """Load the demonstration data once."""
    with psycopg.connect(stack.settings.admin_dsn("smart_warehouse")) as connection:
        if connection.execute("SELECT 1 FROM public.golden_records LIMIT 1").fetchone():
            return
    command = sink_runner("demo", "load")
    told = subprocess.run(command, env={**os.environ, **stack.environment()}, check=False)
    if told.returncode:
        raise StackError("the demonstration data could not be loaded")


def _airflow(_: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    if engine.chosen(stack.layout, environ) == "compose":
        compose = engine.Compose(stack.layout, environ)
        compose.run("--profile", "airflow", "up", "--detach", "--build", "--wait", "airflow")
        compose.run("stop", "schedule")
    else:
        stack.up_airflow()
    return 0


def _down(_: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    if engine.chosen(stack.layout, environ) == "compose":
        engine.Compose(stack.layout, environ).run("down")
    else:
        stack.down()
    return 0


def _status(arguments: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    if engine.chosen(stack.layout, environ) == "compose":
        engine.Compose(stack.layout, environ).run("ps", "--all")
        return 0
    if arguments.json:
        print(status.as_json(stack))
    else:
        status.show(stack, Console())
    up = all(part.up for part in status.parts(stack, stack.settings))
    return 0 if up and not status.broken(stack.settings) else _DOWN


def _logs(arguments: argparse.Namespace, environ: Environ) -> int:
    where = layout.find(environ)
    if engine.chosen(where, environ) == "compose":
        engine.Compose(where, environ).logs(
            arguments.part, arguments.lines, follow=arguments.follow
        )
        return 0
    paths = logs.files(where, arguments.part)
    for path in paths:
        if arguments.part is None:
            print(f"==> {path.stem} <==")
        for line in logs.tail(path, arguments.lines):
            print(line)
    if arguments.follow:
        for part, line in logs.follow(paths):
            print(line if arguments.part else f"{part}: {line}", flush=True)
    return 0


def _stop(arguments: argparse.Namespace, environ: Environ) -> int:
    _stack(environ).supervisor.stop(*arguments.parts)
    return 0


def _restart(arguments: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    if engine.chosen(stack.layout, environ) == "compose":
        engine.Compose(stack.layout, environ).run("restart", *(arguments.parts or _SINKS))
    else:
        stack.restart(arguments.parts or list(_SINKS), _sinks())
    return 0


def _psql(arguments: argparse.Namespace, environ: Environ) -> int:
    stack = _stack(environ)
    return psql.run(stack, arguments.database, arguments.arguments, environ)


def _start(arguments: argparse.Namespace, environ: Environ) -> int:
    _stack(environ).up_sinks({arguments.part: sink_runner(_SINKS[arguments.part])})
    return 0


def _debezium(arguments: argparse.Namespace, environ: Environ) -> int:
    """Replace this process, so that a signal reaches the server."""
    if missing := [str(path) for path in arguments.files if not path.is_file()]:
        raise StackError(f"no file {', '.join(missing)}")
    where = layout.find(environ)
    where.make()
    versions = envfile.load(where.root / "compose" / "versions.env")
    argv = debezium.server_argv(
        Installer(where, versions, environ).install(Reporter()), arguments.files
    )
    os.execve(argv[0], argv, dict(environ))  # noqa: S606 - no shell is needed


def _backup(arguments: argparse.Namespace, environ: Environ) -> int:
    _stack(environ).back_up(arguments.folder)
    return 0


def _restore(arguments: argparse.Namespace, environ: Environ) -> int:
    _stack(environ).restore(arguments.database, arguments.folder)
    return 0


def _clean(_: argparse.Namespace, environ: Environ) -> int:
    where = layout.find(environ)
    if not where.settings.exists():
        return 0  # never a folder that no stack made
    stack = Stack(where, environ)
    if engine.chosen(where, environ) == "compose":
        engine.Compose(where, environ).run("down", "--volumes")
    stack.clean()
    return 0


def _env(arguments: argparse.Namespace, environ: Environ) -> int:
    if arguments.json:
        print(json.dumps(_stack(environ).environment(), indent=2))
        return 0
    for name, value in _stack(environ).environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _show(arguments: argparse.Namespace, environ: Environ) -> int:
    found = show.show(_stack(environ).settings, Console(stderr=arguments.json))
    if arguments.json:
        print(json.dumps([one.record() for one in found], indent=2, default=str))
    else:
        for one in found:
            show.print_arrival(one, Console())
    return 0


def _init(_: argparse.Namespace, environ: Environ) -> int:
    initialise.run(layout.find(environ), environ)
    return 0
