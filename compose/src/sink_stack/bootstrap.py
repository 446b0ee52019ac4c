"""Installs the packages of .venv and, at the same time, the programs of the stack.

It uses the standard library only, since `compose/install.py` runs it with the system's Python.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from . import engine, envfile, layout
from .environment import Environment
from .errors import StackError
from .layout import Layout
from .programs import Installer
from .progress import Reporter

_MINIMUM = (3, 11)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        _prepare(arguments, os.environ)
    except StackError as exc:
        print(f"sink-stack: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsink-stack: interrupted; the next run continues from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="install.py", description=__doc__)
    parser.add_argument("--stack", action="store_true", help="fetch the stack's programs as well")
    parser.add_argument("--tests", action="store_true", help="install what the tests need as well")
    return parser


def _prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if sys.version_info < _MINIMUM:
        raise StackError(f"Python 3.11 or newer is needed; python3 is {sys.version.split()[0]}")
    where, reporter = layout.find(environ), Reporter()
    environment = Environment(where.root, tests=arguments.tests)
    installer = _installer(where, environ, environment) if arguments.stack else None
    steps: list[Callable[[], object]] = []
    if not environment.is_current():
        steps.append(lambda: environment.install(reporter, where.log("pip")))
    if installer and installer.missing():
        steps.append(lambda: installer.install(reporter))
    if not steps:
        return
    where.make()
    if not environment.python.exists():
        with reporter.watching(lambda: "creating .venv"):
            environment.create()
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(step) for step in steps]
        faults = [fault for one in done if (fault := one.exception())]
    if faults:
        raise faults[0]


def _installer(
    where: Layout, environ: Mapping[str, str], environment: Environment
) -> Installer | None:
    """Return None if the stack runs in containers, whose images have the programs."""
    if engine.chosen(where, environ) == "compose":
        return None
    versions = envfile.load(where.root / "compose" / "versions.env")
    return Installer(where, versions, environ, python=environment.python)
