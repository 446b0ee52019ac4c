"""The bootstrap that installs packages into .venv."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sink_stack.environment import Environment
from sink_stack.errors import StackError
from sink_stack.progress import Reporter

from .checkout import Checkout

ROOT = Path(__file__).parents[2]
# Records its arguments and its folder; fails if the file `fail` is beside it.
PYTHON = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as stream:
    print(json.dumps(sys.argv[1:]), file=stream)
print("Collecting avro==1.0")
sys.exit((here / "fail").exists())
"""


@pytest.fixture
def repository(tmp_path):
    """A repository with one plugin and an environment whose Python records its calls."""
    root = tmp_path / "a folder"
    for name in ("setup.cfg", "pyproject.toml", "compose/pyproject.toml"):
        write(root / name, "")
    write(root / "requirements.txt", "avro==1.0 --hash=sha256:0\nrich==2.0 --hash=sha256:0\n")
    write(root / "requirements-dev.txt", "mypy==1.0 --hash=sha256:0\n")
    write(root / "plugins/apples/pyproject.toml", "")
    python = root / ".venv/bin/python"
    write(python, PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    return root


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def install(root, *, tests=False):
    completed = io.StringIO()
    Environment(root, tests=tests).install(Reporter(completed), root / "log")
    return completed.getvalue()


def calls(root):
    lines = (root / ".venv/bin/calls").read_text().splitlines()
    return [" ".join(json.loads(line)) for line in lines]


def test_builds_use_pinned_packages(repository):
    install(repository)
    fetched, own, checked = calls(repository)
    assert fetched.endswith("install --require-hashes -r requirements.txt")
    assert own.endswith("--no-deps --no-build-isolation -e . -e compose -e plugins/apples")
    assert checked.endswith("check")


def test_stack_fetches_no_packages_of_tests(repository):
    install(repository)
    assert "requirements-dev.txt" not in "".join(calls(repository))
    assert not Environment(repository, tests=True).is_current()
    install(repository, tests=True)
    assert "-r requirements.txt -r requirements-dev.txt" in "".join(calls(repository))
    assert Environment(repository, tests=True).is_current()
    assert Environment(repository, tests=False).is_current()


@pytest.mark.parametrize(
    "name", ["requirements.txt", "setup.cfg", "plugins/apples/pyproject.toml", "plugins/pears"]
)
def test_environment_is_outdated_once_a_file_changed(repository, name):
    install(repository)
    assert Environment(repository, tests=False).is_current()
    if name == "plugins/pears":
        write(repository / name / "pyproject.toml", "")
    else:
        write(repository / name, "changed")
    assert not Environment(repository, tests=False).is_current()


def test_environment_is_outdated_once_plugin_is_removed(repository):
    install(repository)
    (repository / "plugins/apples/pyproject.toml").unlink()
    assert not Environment(repository, tests=False).is_current()


def test_failed_installation_names_its_log_and_is_repeated(repository):
    write(repository / ".venv/bin/fail", "")
    with pytest.raises(StackError, match=r"pip install failed: see .*log"):
        install(repository)
    assert not Environment(repository, tests=False).is_current()


def test_size_is_printed_for_the_first_installation(repository):
    assert "60 MB of Python packages go to" in install(repository)
    write(repository / "plugins/pears/pyproject.toml", "")
    completed = install(repository)
    assert "up to date" in completed
    assert "60 MB" not in completed


def test_progress_counts_the_packages(repository):
    assert "Python packages: 1 of 2, avro" in install(repository)


def test_bootstrap_needs_only_standard_library():
    """It runs with the system's Python, before anything is installed."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'compose/src')!r})\n"
    code += "import sink_stack.bootstrap"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


# -- a plugin's folder is deleted ---------------------------------------------------------------


def test_deleted_plugin_is_named_and_others_stay(tmp_path):
    """Run what `make up` runs twice: with the folder of the plugin, and without it."""
    checkout = Checkout(tmp_path / "a folder", ["plugins/feedback", "plugins/schemes"])
    checkout.install()
    assert checkout.plugins().keys() == {"feedback", "schemes"}
    shutil.rmtree(checkout.root / "plugins/feedback")
    checkout.install()
    # It ends before a part is started.
    completed = checkout.run(".venv/bin/sink-stack", "up", check=False, STACK="neither")
    assert "expected native or compose" in completed.stderr
    assert completed.stdout == "uninstalled sink-feedback: its folder is gone\n"
    assert checkout.plugins() == {"schemes": "on"}
