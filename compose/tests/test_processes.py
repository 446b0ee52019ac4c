"""Processes are started once, identified by pid and start time, and stopped or killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sink_stack import ports, restarts
from sink_stack.errors import PartDiedError
from sink_stack.processes import Command, Supervisor

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN);"
    " print('on', flush=True); time.sleep(60)"
)


def part(home, code=SLEEP, name="dummy", **more):
    return Command(name=name, argv=[sys.executable, "-c", code], cwd=home.home, **more)


def state(pid):
    return stat(pid)[0]


def stat(pid):
    """Return the fields of /proc/PID/stat after the name; the 20th is the start time."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_second_ensure_keeps_process(home, supervisor):
    assert supervisor.ensure(part(home))
    pid = supervisor.running("dummy").pid
    assert not supervisor.ensure(part(home))
    assert supervisor.running("dummy").pid == pid


def test_changed_command_environment_file_or_fingerprint_restarts(home, supervisor):
    config = home.home / "config"
    config.write_text("a")
    supervisor.ensure(part(home, watched_files=(config,)))
    seen = {supervisor.running("dummy").pid}
    config.write_text("b")
    for command in (
        part(home, watched_files=(config,)),
        part(home, watched_files=(config,), env={"A": "1"}),
        part(home, watched_files=(config,), env={"A": "1"}, fingerprint={"plugin a": "1"}),
        part(
            home,
            code=SLEEP + " ",
            watched_files=(config,),
            env={"A": "1"},
            fingerprint={"plugin a": "1"},
        ),
    ):
        assert supervisor.ensure(command)
        seen.add(supervisor.running("dummy").pid)
    assert len(seen) == 5


def test_restart_names_what_changed(home):
    completed = []
    supervisor = Supervisor(home, completed.append)
    config = home.home / "my.toml"
    config.write_text("a")
    before = {"A": "secret-1", "B": "1"}
    supervisor.ensure(
        part(home, watched_files=(config,), env=before, fingerprint={"plugin a": "1"})
    )
    config.write_text("b")
    after = {"A": "secret-2", "C": "1"}
    supervisor.ensure(part(home, watched_files=(config,), env=after, fingerprint={"plugin b": "1"}))
    supervisor.stop("dummy")
    assert "".join(completed) == (
        "restarting dummy: file my.toml changed, plugin a is gone, plugin b is new,"
        " variable A changed, variable B is gone and 1 more"
    )


def test_pid_file_is_private_without_values(home, supervisor):
    supervisor.start(part(home, env={"A": "secret-1"}))
    file = home.run / "dummy.pid"
    assert "secret-1" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_part_of_an_earlier_version_is_restarted(home, supervisor):
    supervisor.start(part(home))
    file = home.run / "dummy.pid"
    known = json.loads(file.read_text()) | {"digest": "0123"}
    file.write_text(json.dumps(known))
    pid = supervisor.running("dummy").pid
    assert supervisor.ensure(part(home))
    assert supervisor.running("dummy").pid != pid


def test_zombie_is_dead(home, supervisor):
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    with_its_pid(home, supervisor, child.pid)
    assert supervisor.running("dummy") is not None
    child.kill()
    while state(child.pid) != "Z":
        time.sleep(0.01)
    assert supervisor.running("dummy") is None
    child.wait()


def test_part_stopped_by_another_command_is_forgotten(home, supervisor):
    pid = supervisor.start(part(home)).pid
    Supervisor(home).stop("dummy")
    assert state(pid) == "Z"
    supervisor.stop("dummy")
    assert not Path(f"/proc/{pid}").exists()


def test_recycled_pid_is_dead_and_not_signalled(home, supervisor):
    """A process with the same pid but another start time is another process."""
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    with_its_pid(home, supervisor, other.pid, ticks=1)
    assert supervisor.running("dummy") is None
    supervisor.stop("dummy")
    assert other.poll() is None
    other.kill()
    other.wait()


def test_pid_of_an_earlier_boot_is_dead(home, supervisor):
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    with_its_pid(home, supervisor, other.pid, boot="another")
    assert supervisor.running("dummy") is None
    other.kill()
    other.wait()


def test_truncated_pid_file_means_dead(home, supervisor):
    (home.run / "dummy.pid").write_text('{"pid": 1')
    assert supervisor.running("dummy") is None


def with_its_pid(home, supervisor, pid, **other):
    """Write a pid file as if the process `pid` were the part."""
    supervisor.start(part(home, name="model"))
    known = json.loads((home.run / "model.pid").read_text())
    known |= {"pid": pid, "ticks": int(stat(pid)[19])}
    (home.run / "dummy.pid").write_text(json.dumps(known | other))
    supervisor.stop("model")


def test_stop_sends_signal_of_part(home, supervisor):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(print('requested', flush=True)))\n"
        "print('on', flush=True)\n"
        "time.sleep(60)"
    )
    supervisor.start(part(home, code, stop_signal=signal.SIGINT))
    supervisor.wait_until("dummy", lambda: "on" in home.log("dummy").read_text(), 10)
    supervisor.stop("dummy")
    assert supervisor.running("dummy") is None
    assert "requested" in home.log("dummy").read_text()


def test_stop_kills_part_that_ignores_signal(home, supervisor):
    supervisor.start(part(home, STUBBORN, stop_seconds=0.3))
    supervisor.wait_until("dummy", lambda: "on" in home.log("dummy").read_text(), 10)
    pid = supervisor.running("dummy").pid
    supervisor.stop("dummy")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_part_outlives_session_that_started_it(home, supervisor):
    pid = supervisor.start(part(home)).pid
    assert os.getsid(pid) == pid


def test_exit_before_ready_is_error_with_last_lines(home, supervisor):
    supervisor.start(part(home, "print('no such topic'); raise SystemExit(3)"))
    with pytest.raises(PartDiedError, match="no such topic"):
        supervisor.wait_until("dummy", lambda: False, 10)


def test_error_names_part_not_ready_in_time(home, supervisor):
    supervisor.start(part(home))
    with pytest.raises(PartDiedError, match="dummy was not ready"):
        supervisor.wait_until("dummy", lambda: False, 0.1)


CHILD = "import signal, time; signal.signal(15, {how}); print('child', flush=True); time.sleep(60)"
# Exits at once and leaves its child running, as Airflow's processes do.
LEADER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.parametrize("how", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_process_group_is_stopped_without_leader(home, supervisor, how):
    code = LEADER.replace("{how}", how)
    supervisor.ensure(part(home, code, stop_all=True, stop_seconds=1))
    supervisor.wait_until("dummy", lambda: "child" in home.log("dummy").read_text(), 10)
    group = supervisor.running("dummy").pid
    assert len(members(group)) == 2
    supervisor.stop("dummy")
    bound = time.monotonic() + 5
    while members(group) and time.monotonic() < bound:
        time.sleep(0.05)
    assert members(group) == []


def members(group):
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if in_group(pid, group)]


def in_group(pid, group):
    try:
        fields = stat(pid)
    except OSError:
        return False
    return int(fields[2]) == group and fields[0] != "Z"


# -- a part that is started again when it ends ---------------------------------------------------


def test_ended_part_is_started_again(home, supervisor):
    supervisor.start(part(home, restart=True))
    supervisor.wait_until("dummy", lambda: supervisor.restarts("dummy").pid, 10)
    first = supervisor.restarts("dummy").pid
    os.kill(first, signal.SIGKILL)
    restarted = until(lambda: supervisor.restarts("dummy").pid not in (None, first))
    assert restarted
    assert supervisor.restarts("dummy").count == 1
    assert supervisor.restarts("dummy").reason == "SIGKILL"
    assert "dummy ended with SIGKILL" in home.log("dummy").read_text()
    assert supervisor.current(part(home, restart=True))


def test_stopped_part_is_not_restarted(home, supervisor):
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('requested')));"
    supervisor.start(part(home, code + "print('on', flush=True); time.sleep(60)", restart=True))
    supervisor.wait_until("dummy", lambda: "on" in home.log("dummy").read_text(), 10)
    pid = supervisor.restarts("dummy").pid
    supervisor.stop("dummy")
    assert supervisor.running("dummy") is None
    assert not Path(f"/proc/{pid}").exists()
    assert home.log("dummy").read_text().split() == ["on", "requested"]


def test_stop_ends_part_that_waits_for_its_restart(home, supervisor):
    supervisor.start(part(home, "raise SystemExit(1)", restart=True))
    assert until(lambda: supervisor.restarts("dummy").count > 1)
    began = time.monotonic()
    supervisor.stop("dummy")
    assert time.monotonic() - began < 1
    assert supervisor.running("dummy") is None


def test_crash_of_restarting_part_ends_its_children(home, supervisor):
    supervisor.start(part(home, restart=True))
    supervisor.wait_until("dummy", lambda: supervisor.restarts("dummy").pid, 10)
    pid = supervisor.restarts("dummy").pid
    supervisor.kill("dummy")
    assert supervisor.running("dummy") is None
    assert until(lambda: not Path(f"/proc/{pid}").exists() or state(pid) == "Z")


LARGE = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
memory = b"x" * 600_000_000  # the system takes a moment to take it back
print("port", server.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_port_of_killed_part_is_free_at_once(home, supervisor, end):
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)"
    supervisor.start(part(home, deaf + LARGE, restart=True, stop_seconds=0.1))
    supervisor.wait_until("dummy", lambda: "port" in home.log("dummy").read_text(), 10)
    port = int(home.log("dummy").read_text().split()[1])
    assert not ports.is_free(port)
    getattr(supervisor, end)("dummy")
    assert ports.is_free(port)


def test_part_awaiting_restart_starts_at_once(home, supervisor):
    broken = part(home, "import time; time.sleep(0.1); raise SystemExit(1)", restart=True)
    supervisor.start(broken)
    assert until(lambda: supervisor.restarts("dummy").reason and not supervisor.current(broken))
    assert supervisor.ensure(broken)


def test_part_with_configuration_error_is_not_restarted(home, supervisor):
    supervisor.start(part(home, "raise SystemExit(78)", restart=True))
    assert until(lambda: supervisor.running("dummy") is None)
    assert supervisor.restarts("dummy").count == 0


def test_exit_before_ready_is_error_despite_restart(home, supervisor):
    supervisor.start(part(home, "print('no slot'); raise SystemExit(1)", restart=True))
    with pytest.raises(PartDiedError, match="no slot"):
        supervisor.wait_until("dummy", lambda: False, 10)
    assert supervisor.running("dummy") is None


def test_part_that_ends_once_may_become_ready(home, supervisor):
    code = (
        "import pathlib, sys, time; ran = pathlib.Path('ran')\n"
        "if not ran.exists(): sys.exit(ran.touch() or 1)\n"
        "print('on', flush=True); time.sleep(60)"
    )
    supervisor.start(part(home, code, restart=True))
    log = home.log("dummy")
    supervisor.wait_until("dummy", lambda: "on\n" in log.read_text(), 10, restarts=1)
    assert supervisor.restarts("dummy").count == 1


def test_pauses_double_until_healthy():
    waits = [0.0]
    for _ in range(8):
        waits.append(restarts.pause(waits[-1], lived=5))
    assert waits[1:] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert restarts.pause(60, lived=600) == 1


def until(true, seconds=10):
    bound = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < bound:
        time.sleep(0.02)
    return found
