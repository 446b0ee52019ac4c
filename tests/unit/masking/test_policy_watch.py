"""Policies that change while the runner runs."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sink_runner.errors import PolicyError
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.model.status import Health

OWN = Path(__file__).parents[3] / "ranger-policies"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(OWN, tmp_path / "policies")
    return tmp_path / "policies"


def rewrite(folder, version, *, name="policies.json"):
    """Replace the file by one with another version, in one step as an editor does."""
    content = json.loads((folder / "policies.json").read_text()) | {"policyVersion": version}
    new = folder / "new"
    new.write_text(json.dumps(content))
    new.rename(folder / name)


def test_unreadable_policies_refuse_start(tmp_path):
    with pytest.raises(PolicyError):
        PolicyWatch(tmp_path)


def test_new_policies_are_used_and_logged(folder):
    watch = PolicyWatch(folder)
    before = watch.current()
    rewrite(folder, 7)
    assert watch.current() is before
    with capture_logs() as logs:
        watch.look()
    assert watch.current().version == 7
    assert [line["event"] for line in logs] == ["policies_refreshed"]


def test_unchanged_policies_stay_the_same_object(folder):
    """A mapping compiles its masks again whenever it gets another object."""
    watch = PolicyWatch(folder)
    before = watch.current()
    watch.look()
    os.utime(folder / "policies.json")
    with capture_logs() as logs:
        watch.look()
    assert watch.current() is before
    assert logs == []


@pytest.mark.parametrize(
    "name", ["policies.json", "classification.json", "servicedef-sink.json", "users.json"]
)
def test_bad_file_keeps_last_good_policies(folder, name):
    clock = Clock()
    watch = PolicyWatch(folder, clock=clock)
    before, good = watch.current(), (folder / name).read_bytes()
    (folder / name).write_bytes(b"{")
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += 10
            watch.look()
    assert watch.current() is before
    assert [line["event"] for line in logs] == ["policies_not_refreshed"]
    assert name in logs[0]["reason"]
    assert watch.age_seconds == 30
    (folder / name).write_bytes(good)
    watch.look()
    assert watch.age_seconds == 0


def test_reload_keeps_the_hash_key(folder):
    content = json.loads((folder / "policies.json").read_text())
    info = {"dataMaskType": "MASK_HASH"}
    content["policies"][0]["dataMaskPolicyItems"][0]["dataMaskInfo"] = info
    (folder / "policies.json").write_text(json.dumps(content))
    with pytest.raises(PolicyError, match=r"policies\.key"):
        PolicyWatch(folder)
    watch = PolicyWatch(folder, "k" * 32)
    rewrite(folder, 7)
    watch.look()
    assert watch.current().version == 7


def test_deleted_file_keeps_last_good_policies(folder):
    watch = PolicyWatch(folder)
    before = watch.current()
    (folder / "policies.json").unlink()
    watch.look()
    assert watch.current() is before


def test_age_counts_from_last_successful_check(folder):
    clock = Clock()
    watch = PolicyWatch(folder, clock=clock)
    clock.now += 4
    assert watch.age_seconds == 4
    watch.look()
    assert watch.age_seconds == 0


def test_version_and_age_are_metrics(folder):
    clock, health = Clock(), Health()
    watch = PolicyWatch(folder, clock=clock)
    watch.show(health)
    rewrite(folder, 7)
    watch.look()
    clock.now += 3
    assert health.registry.get_sample_value("sink_policy_version") == 7
    assert health.registry.get_sample_value("sink_policy_age_seconds") == 3


def test_unavailable_ranger_admin_keeps_policies(folder):
    def fail():
        raise PolicyError("Ranger Admin does not answer")

    clock = Clock()
    watch = PolicyWatch(folder, download=fail, clock=clock)
    clock.now += 9
    with capture_logs() as logs:
        watch.look()
        watch.look()
    assert [line["reason"] for line in logs] == ["Ranger Admin does not answer"]
    assert watch.age_seconds == 9


def test_unexpected_error_does_not_end_watch(folder):
    watch = PolicyWatch(folder, download=lambda: {}["nothing"])
    with capture_logs() as logs:
        watch.look()
        watch.look()
    assert [line["reason"] for line in logs] == ["unexpected KeyError"]


def test_thread_reloads_policies_until_stopped(folder):
    watch = PolicyWatch(folder)
    with watch.watching(0.01):
        rewrite(folder, 9)
        deadline = time.monotonic() + 10
        while watch.current().version != 9 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert watch.current().version == 9
    rewrite(folder, 10)
    time.sleep(0.05)
    assert watch.current().version == 9


def test_interval_of_zero_never_reloads(folder):
    watch = PolicyWatch(folder)
    with watch.watching(0):
        rewrite(folder, 9)
        time.sleep(0.05)
    assert watch.current().version != 9
