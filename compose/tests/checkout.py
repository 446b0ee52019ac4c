"""A copy of the repository, used as a fresh clone."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = ("sink_runner", "compose", "debezium-config", "ranger-policies")
_FILES = (
    *("setup.cfg", "pyproject.toml", "README.md", "LICENSE"),
    *("requirements.txt", "sink-runner.toml"),
)


class Checkout:
    """Has some plugins, and an environment with the requirements but none of our packages.

    `python` makes the environment, `user` runs every command.
    """

    def __init__(self, root, plugins, *, python=sys.executable, user=None):
        self.root = root
        self._python = python
        self._user = user
        generated = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in (*_FOLDERS, *plugins):
            shutil.copytree(ROOT / name, root / name, ignore=generated)
        for name in _FILES:
            shutil.copy(ROOT / name, root)
        subprocess.run([python, "-I", "-m", "venv", "--without-pip", root / ".venv"], check=True)
        (site,) = root.glob(".venv/lib/python*/site-packages")
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(("sink_", "__editable__")):
                (site / path.name).symlink_to(path)
        if user:
            subprocess.run(["chown", "-R", user, root], check=True)

    def install(self):
        self.run(self._python, "-I", "compose/install.py")

    def plugins(self):
        completed = self.run(".venv/bin/sink-runner", "plugins", "--json")
        return {plugin["name"]: plugin["status"] for plugin in json.loads(completed.stdout)}

    def run(self, *command, check=True, **more):
        """Run a command in the folder, with the environment of a login shell."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("SINK_")}
        completed = subprocess.run(
            command,
            cwd=self.root,
            env=kept | more,
            user=self._user,
            extra_groups=[] if self._user else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not (check and completed.returncode), completed.stdout + completed.stderr
        return completed
