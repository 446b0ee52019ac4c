"""Ranger confirms policies before they are first used; unconfirmed ones expire."""

import json
import os
import shutil
import time

import pytest
from structlog.testing import capture_logs

from sink_runner.api import serve as api_server
from sink_runner.api.routes import Routes
from sink_runner.config import Policies
from sink_runner.errors import ConfigError, StalePoliciesError
from sink_runner.masking.policy import load_policies
from sink_runner.masking.ranger.renewal import CONFIRMED, renewed_policies, watch_policies
from sink_runner.runtime import runner

from ....stack.ranger.cases import DEFINITION, OWN
from ....support.ranger_admin import PASSWORD, USER, admin

OURS = json.loads((OWN / "policies.json").read_text())
SERVICE = OURS["serviceName"]
ACTIONS = [
    ("dlq", "list"),
    ("dlq", "show", "1"),
    ("dlq", "explain", "1"),
    ("dlq", "replay", "1"),
    ("dlq", "discard", "1", "--reason", "why"),
    ("dlq", "export"),
    ("dlq", "rekey"),
]


@pytest.fixture
def ranger():
    with admin() as ranger:
        ranger.add_service(SERVICE, DEFINITION)
        for policy in OURS["policies"]:
            ranger.add(policy)
        yield ranger


@pytest.fixture
def folder(tmp_path):
    """A folder that was deployed nine hours ago, with other policies than Ranger's."""
    shutil.copytree(OWN, tmp_path / "policies")
    folder = tmp_path / "policies"
    (folder / "policies.json").write_text(json.dumps({**OURS, "policyVersion": 3}))
    set_age(folder, hours=9)
    return folder


def set_age(folder, *, hours):
    modified = time.time() - hours * 3600
    os.utime(folder / "policies.json", (modified, modified))


@pytest.fixture
def settings(folder, ranger):
    def make(**more):
        return Policies(directory=folder, admin=ranger.url, **more)

    return make


class TestFirstUse:
    def test_ranger_confirms_before_the_first_use(self, settings, ranger, folder):
        assert load_policies(folder).version == 3
        assert watch_policies(settings()).current().version == ranger.version
        assert renewed_policies(settings()).version == ranger.version

    def test_recent_folder_is_used_during_outage(self, settings, ranger, folder):
        ranger.failure_status = 503
        set_age(folder, hours=0.9)
        with capture_logs() as logs:
            assert renewed_policies(settings()).version == 3
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("policies_not_refreshed", "error")
        ]

    @pytest.mark.parametrize("status", [503, 401, 500])
    def test_old_folder_is_refused_during_outage(self, settings, ranger, status):
        ranger.failure_status = status
        with pytest.raises(StalePoliciesError, match=r"3600 seconds .*Ranger Admin.*max_age_sec"):
            renewed_policies(settings())
        assert renewed_policies(settings(max_age_seconds=10 * 3600)).version == 3

    def test_folder_stores_time_of_confirmation(self, settings, ranger, folder):
        renewed_policies(settings())
        ranger.failure_status = 503
        set_age(folder, hours=9)
        assert renewed_policies(settings()).version == ranger.version
        confirmed = time.time() - 2 * 3600
        os.utime(folder / CONFIRMED, (confirmed, confirmed))
        with pytest.raises(StalePoliciesError):
            renewed_policies(settings())

    def test_confirmation_is_valid_for_same_policies_only(self, settings, ranger, folder):
        """A deployment may restore an old copy, which Ranger has not confirmed."""
        renewed_policies(settings())
        (folder / "policies.json").write_text(json.dumps({**OURS, "policyVersion": 2}))
        set_age(folder, hours=9)
        ranger.failure_status = 503
        with pytest.raises(StalePoliciesError):
            renewed_policies(settings())

    def test_folder_without_ranger_does_not_expire(self, folder):
        assert renewed_policies(Policies(directory=folder)).version == 3
        assert not (folder / CONFIRMED).exists()

    def test_refresh_interval_beyond_maximum_age_is_refused(self, settings):
        for more in ({"refresh_seconds": 0}, {"refresh_seconds": 9, "max_age_seconds": 8}):
            with pytest.raises(ConfigError, match=r"policies\.refresh_seconds must be more than 0"):
                renewed_policies(settings(**more))


def test_expired_policies_are_usable_after_confirmation(settings, ranger):
    ranger.failure_status = 503
    watch = watch_policies(settings())
    for _ in range(2):
        with pytest.raises(StalePoliciesError, match="unavailable"):
            watch.current()
    ranger.failure_status = 0
    watch.look()
    assert watch.current().version == ranger.version


def test_policies_expire_while_runner_runs(settings, ranger):
    watch = watch_policies(settings(max_age_seconds=10))
    assert watch.current().version == ranger.version
    ranger.failure_status = 503
    watch._clock = lambda: time.monotonic() + 11
    watch.look()
    with pytest.raises(StalePoliciesError):
        watch.current()


# -- commands ----------------------------------------------------------------------------------


@pytest.fixture
def command(call, configured, folder, ranger, site):
    def run(*argv):
        site.mapping("people")
        configured(
            "people",
            more=f'\n[policies]\ndirectory = "{folder}"\nadmin = "{ranger.url}"'
            f'\nuser = "{USER}"\npassword = "{PASSWORD}"\nallow_plaintext_credentials = true\n',
        )
        return call(*argv)

    return run


@pytest.mark.parametrize("argv", ACTIONS, ids=" ".join)
def test_dlq_commands_download_policies_first(command, ranger, folder, argv):
    command(*argv)
    assert load_policies(folder).version == ranger.version


@pytest.mark.parametrize("argv", ACTIONS, ids=" ".join)
def test_dlq_commands_refuse_expired_policies(command, ranger, argv):
    ranger.failure_status = 503
    code, out, err = command(*argv)
    assert code == 1
    assert "Ranger Admin does not answer" in err
    assert "max_age_seconds" in err
    assert out == ""


def test_run_and_api_download_policies_first(settings, ranger, folder, monkeypatch):
    """They do so before a mapping is compiled or a request is accepted."""
    versions = []

    def record_version(*args, **_):
        versions.append(load_policies(folder).version)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "RuntimeContext", record_version)
    monkeypatch.setattr(api_server, "assemble", record_version)
    config = _config(settings())
    for start in (lambda: runner.run(config, []), lambda: api_server.serve(config, Routes())):
        shutil.copy(OWN / "policies.json", folder)
        with pytest.raises(KeyboardInterrupt):
            start()
    assert versions == [ranger.version] * 2


def _config(policies):
    from sink_runner.config import Config, DeadLetters, Kafka, Registry  # noqa: PLC0415

    return Config(
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        registry=Registry(url="http://127.0.0.1:1"),
        databases={},
        dead_letters=DeadLetters(key="A" * 43 + "=", key_id="one"),
        policies=policies,
    )
