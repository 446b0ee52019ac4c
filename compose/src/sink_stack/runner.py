"""The sink runner as a part of the stack: started, watched and restarted like the others."""

import importlib.util
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

from .errors import PartDiedError, StackError
from .layout import Layout
from .processes import Command, Supervisor

GROUP = "sink_runner.v1"
CORE = "sink_runner"
CONFIG = "sink-runner.toml"
POLICIES = "ranger-policies"
_SETTLED_SECONDS = 2
# As sink-runner.toml refers to a variable.
_VARIABLE = re.compile(r'\benv = "(\w+)"')


def command(
    layout: Layout, argv: Sequence[str], environ: Mapping[str, str], name: str = "runner"
) -> Command:
    """Return the runner's command; a changed plugin, policy or configuration makes it outdated.

    The process gets the variables of the shell that its configuration file can refer to.
    """
    file = layout.root / CONFIG
    named = set(_VARIABLE.findall(file.read_text(encoding="utf-8"))) if file.exists() else set()
    shell = {
        variable: text
        for variable, text in os.environ.items()
        if variable in named
        or (variable.startswith("SINK_") and not variable.startswith("SINK_STACK_"))
    }
    return Command(
        name=name,
        argv=argv,
        cwd=layout.root,
        env={**shell, **environ},
        watched_files=(file, *sorted((layout.root / POLICIES).glob("*.json"))),
        fingerprint=fingerprint(),
        stop_seconds=15,
        restart=True,
    )


def check(command: Command) -> None:
    """Raise StackError, with what the runner says, if it would refuse to run.

    It runs before the running process is stopped: an unusable configuration must not end a
    runner that works.
    """
    if not _checks(command):
        return
    completed = subprocess.run(
        [*command.argv, "--check"],
        cwd=command.cwd,
        env={**os.environ, **command.env},
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        words = (completed.stderr or completed.stdout).strip()
        raise StackError(
            f"the sink {command.name} would not start with this configuration\n{words}"
        )


def _checks(command: Command) -> bool:
    """Whether the command has the option `--check`."""
    program, *arguments = command.argv
    return Path(program).name == "sink-runner" and arguments[:1] == ["run"]


def wait_until_settled(supervisor: Supervisor, *names: str) -> None:
    """Raise PartDiedError if a program ends within 2 s, as after a refused configuration."""
    bound = time.monotonic() + _SETTLED_SECONDS
    while time.monotonic() < bound:
        for name in names:
            if supervisor.ended(name):
                supervisor.stop(name)
                raise PartDiedError(f"the sink {name} ended\n{supervisor.tail(name)}")
        time.sleep(0.05)


def fingerprint() -> dict[str, str]:
    """Return a description of the installed code: any edit, installation or removal changes it."""
    found = {"the code of sink-runner": "\n".join(sorted(_files(CORE)))}
    for distribution in distributions():
        for entry in distribution.entry_points:
            if entry.group == GROUP:
                files = sorted({*_files(entry.module.partition(".")[0])})
                facts = [entry.value, distribution.version, *files]
                found[f"plugin {entry.name}"] = "\n".join(facts)
    return found


def _files(package: str) -> Iterator[str]:
    """Yield the files of a top-level package; finding a submodule would import its parent."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    if not folders and spec.origin:
        files = [Path(spec.origin)]
    for path in files:
        yield f"{path} {path.stat().st_mtime_ns}"
