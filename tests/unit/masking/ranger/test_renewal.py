"""Policies are confirmed before the first row, and used no longer than they may be."""

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
    with admin() as made:
        made.add_service(SERVICE, DEFINITION)
        for policy in OURS["policies"]:
            made.add(policy)
        yield made


@pytest.fixture
def folder(tmp_path):
    """Of a deploy some time ago, with other policies than Ranger's."""
    shutil.copytree(OWN, tmp_path / "policies")
    made = tmp_path / "policies"
    (made / "policies.json").write_text(json.dumps({**OURS, "policyVersion": 3}))
    deployed(made, hours=9)
    return made


def deployed(folder, *, hours):
    at = time.time() - hours * 3600
    os.utime(folder / "policies.json", (at, at))


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

    def test_fresh_folder_is_used_while_ranger_is_away(self, settings, ranger, folder):
        ranger.failure_status = 503
        deployed(folder, hours=0.9)
        with capture_logs() as logs:
            assert renewed_policies(settings()).version == 3
        assert [(one["event"], one["log_level"]) for one in logs] == [
            ("policies_not_refreshed", "error")
        ]

    @pytest.mark.parametrize("status", [503, 401, 500])
    def test_old_folder_is_refused_while_ranger_is_away(self, settings, ranger, status):
        ranger.failure_status = status
        with pytest.raises(StalePoliciesError, match=r"3600 seconds .*Ranger Admin.*max_age_sec"):
            renewed_policies(settings())
        assert renewed_policies(settings(max_age_seconds=10 * 3600)).version == 3

    def test_a_confirmation_is_remembered_by_the_folder(self, settings, ranger, folder):
        renewed_policies(settings())
        ranger.failure_status = 503
        deployed(folder, hours=9)
        assert renewed_policies(settings()).version == ranger.version
        confirmed = time.time() - 2 * 3600
        os.utime(folder / CONFIRMED, (confirmed, confirmed))
        with pytest.raises(StalePoliciesError):
            renewed_policies(settings())

    def test_a_confirmation_is_not_of_other_policies(self, settings, ranger, folder):
        """An old copy that a deploy brings with its own time is not what Ranger confirmed."""
        renewed_policies(settings())
        (folder / "policies.json").write_text(json.dumps({**OURS, "policyVersion": 2}))
        deployed(folder, hours=9)
        ranger.failure_status = 503
        with pytest.raises(StalePoliciesError):
            renewed_policies(settings())

    def test_a_folder_without_ranger_has_no_age(self, folder):
        assert renewed_policies(Policies(directory=folder)).version == 3
        assert not (folder / CONFIRMED).exists()

    def test_refresh_that_never_comes_in_time_is_refused(self, settings):
        for more in ({"refresh_seconds": 0}, {"refresh_seconds": 9, "max_age_seconds": 8}):
            with pytest.raises(ConfigError, match=r"policies\.refresh_seconds must be more than 0"):
                renewed_policies(settings(**more))


def test_old_policies_return_once_ranger_answers(settings, ranger):
    ranger.failure_status = 503
    watch = watch_policies(settings())
    for _ in range(2):
        with pytest.raises(StalePoliciesError, match="unavailable"):
            watch.current()
    ranger.failure_status = 0
    watch.look()
    assert watch.current().version == ranger.version


def test_policies_grow_old_while_the_runner_works(settings, ranger):
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
def test_each_command_of_the_dlq_asks_ranger_first(command, ranger, folder, argv):
    command(*argv)
    assert load_policies(folder).version == ranger.version


@pytest.mark.parametrize("argv", ACTIONS, ids=" ".join)
def test_each_command_of_the_dlq_refuses_old_policies(command, ranger, argv):
    ranger.failure_status = 503
    code, out, err = command(*argv)
    assert code == 1
    assert "Ranger Admin does not answer" in err
    assert "max_age_seconds" in err
    assert out == ""


def test_run_and_api_ask_ranger_first(settings, ranger, folder, monkeypatch):
    """Before any mapping is put together, or any request is taken."""
    seen = []

    def stop_here(*args, **_):
        seen.append(load_policies(folder).version)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "RuntimeContext", stop_here)
    monkeypatch.setattr(api_server, "assemble", stop_here)
    config = _config(settings())
    for start in (lambda: runner.run(config, []), lambda: api_server.serve(config, Routes())):
        shutil.copy(OWN / "policies.json", folder)
        with pytest.raises(KeyboardInterrupt):
            start()
    assert seen == [ranger.version] * 2


def _config(policies):
    from sink_runner.config import Config, DeadLetters, Kafka, Registry  # noqa: PLC0415

    return Config(
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        registry=Registry(url="http://127.0.0.1:1"),
        databases={},
        dead_letters=DeadLetters(key="A" * 43 + "=", key_id="one"),
        policies=policies,
    )
