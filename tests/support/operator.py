"""Runs commands of the documentation on the stack of a test."""

import os
import subprocess
import sys
from pathlib import Path

from sink_stack.layout import Layout

from .pages import ROOT

_TIMEOUT_SECONDS = 240


class Operator:
    """Runs shell commands on the stack of a test, with the environment that an operator has."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        text = (ROOT / "sink-runner.toml").read_text(encoding="utf-8")
        config = folder / "sink-runner.toml"
        config.write_text(text.replace(".stack/stack.env", str(layout.settings)))
        (folder / "ranger-policies").symlink_to(ROOT / "ranger-policies")
        stack_variables = {name for name in os.environ if name.startswith(("SINK_", "STACK_"))}
        self.environment = {
            **{name: text for name, text in os.environ.items() if name not in stack_variables},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "STACK": "native",
            "SINK_STACK_HOME": str(layout.home),
            "SINK_STACK_CACHE": str(layout.cache),
            "SINK_CONFIG": str(config),
            "BACKUP": str(folder / "backup"),
        }

    def run(self, command: str) -> None:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
        print(f"$ {command}\n{result.stdout}")
        assert result.returncode == 0, f"{command}\n{result.stdout}"
