"""An unprivileged user, in a folder whose path contains a blank."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sink_stack.testing_postgres import installed

from .checkout import Checkout

pytestmark = pytest.mark.postgres
NAME = "nobody"
# The part of `up` that starts PostgreSQL.
START = """
import os, sys
from pathlib import Path
from sink_stack import layout, settings
from sink_stack.postgres import Postgres, migrate_databases
from sink_stack.processes import Supervisor

where = layout.find(os.environ)
where.make()
current = settings.prepare(where, os.environ, lambda _: False)
postgres, supervisor = Postgres(where, current, Path(sys.argv[1])), Supervisor(where)
postgres.create_cluster()
supervisor.ensure(postgres.command())
supervisor.wait_until("postgres", postgres.ready, 60)
postgres.fill()
print(*migrate_databases(current.admin_dsn))
"""


def may_run(python):
    """Return whether the other user may run this Python."""
    command = ["env", python, "-c", "import venv"]
    completed = subprocess.run(
        command, user=NAME, extra_groups=[], capture_output=True, check=False
    )
    return completed.returncode == 0


@pytest.fixture
def python():
    """Return a Python of this version that every user may run; root's may be in root's home."""
    if os.geteuid() != 0:
        pytest.skip("the user of this session is not root, and all tests run as that user")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"]
    usable = [path for path in found if may_run(path)]
    if not usable:
        pytest.skip(f"no {version} that user {NAME} may run: {', '.join(found)}")
    return usable[0]


@pytest.fixture
def folder():
    """A folder outside pytest's temporary folder, which only its own user may enter."""
    found = Path(tempfile.mkdtemp())
    found.chmod(0o755)
    yield found / "a path"
    shutil.rmtree(found)


def test_clone_installs_and_starts_postgresql(python, folder):
    checkout = Checkout(folder, ["plugins/schemes"], python=python, user=NAME)
    programs = installed(os.environ)[0].parent
    home = str(folder / "home")
    checkout.install()
    assert checkout.plugins() == {"schemes": "on"}
    started = checkout.run(".venv/bin/python", "-c", START, str(programs), HOME=home)
    assert started.stdout.split() == ["smart_warehouse", "smart_citizen"]
    (pid,) = (folder / ".stack" / "run").glob("postgres.pid")
    owner = pwd.getpwuid(pid.stat().st_uid).pw_name
    stopped = checkout.run(".venv/bin/sink-stack", "down", HOME=home)
    assert owner == pwd.getpwuid((folder / ".stack" / "pgdata").stat().st_uid).pw_name == NAME
    assert "stopped postgres" in stopped.stdout
