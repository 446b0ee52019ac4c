"""`sink-runner api` and `sink-runner api-key`: their output and their errors."""

import re
import tomllib

import pytest

from sink_runner.api.api_keys import hash_key
from sink_runner.config import load

from ...support.api_service import ROOT

SECRET = "thirty-two characters, or rather more"
API = """
[api]
database = "north"
secret = "{secret}"
[api.tables]
forecasts = "north.public.forecasts"
alerts = "north.public.alerts"
"""
COMPLETE = API.format(secret=SECRET)


@pytest.fixture
def configure(configured):
    def write(more=None):
        return configured("*", more=COMPLETE if more is None else more)

    return write


def test_new_key_is_printed_once_with_settings(call, configure):
    path = configure()
    code, out, err = call(
        "api-key", "new", "portal", "--scope", "profiles:read", "--group", "smart_citizen"
    )
    assert code == 0
    (key,) = re.findall(r"^(sink_\S+)$", err, re.MULTILINE)
    path.write_text(path.read_text() + out)
    client = load(path, {}).config().api.clients["portal"]
    assert client.key_hash == hash_key(SECRET, key)
    assert (client.scopes, client.group) == (("profiles:read",), "smart_citizen")
    assert key not in out  # stdout may be redirected to a file


def test_new_keys_differ(call, configure):
    configure()
    outputs = [call("api-key", "new", "a", "--scope", "alerts:write")[1] for _ in range(2)]
    assert outputs[0] != outputs[1]


def test_any_client_name_gives_valid_toml(call, configure):
    configure()
    _, out, _ = call("api-key", "new", 'a "b".c', "--scope", "alerts:write")
    assert set(tomllib.loads(out)["api"]["clients"]) == {'a "b".c'}


def test_unknown_scope_is_refused(call, configure):
    configure()
    code, _, err = call("api-key", "new", "a", "--scope", "everything")
    assert code == 2
    assert "forecasts:write" in err


@pytest.mark.parametrize("command", [("api",), ("api-key", "new", "a", "--scope", "alerts:write")])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "[api] is missing"),
        (API.format(secret=""), "api.secret has less than 32 characters"),
        (API.format(secret="short"), "api.secret has less than 32 characters"),
        (
            COMPLETE.replace("north.public.alerts", "alerts"),
            "api.tables.alerts: 'alerts' is not of the form",
        ),
        (API.replace("alerts =", "alarms =").format(secret=SECRET), "api.tables.alarms is unknown"),
    ],
)
def test_configuration_error_is_reported(call, configure, command, more, message):
    configure(more)
    code, _, err = call(*command)
    assert code == 78
    assert message in err
    assert "short" not in err.replace("api.secret", "")


def test_unknown_database_is_refused(call, configure):
    policies = f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n'
    configure(COMPLETE.replace('"north"', '"south"') + policies)
    code, _, err = call("api")
    assert code == 78
    assert "api.database: unknown database 'south'" in err


def test_unknown_scope_of_client_is_refused(call, configure):
    configure(COMPLETE + '[api.clients.a]\nscopes = ["forecasts:all"]\n')
    code, _, err = call("api")
    assert code == 78
    assert "api.clients.a.scopes[0]" in err


def test_secret_is_never_printed(call, configure):
    configure()
    assert SECRET not in call("config")[1]


@pytest.mark.parametrize("command", [("api",), ("api-key",), ("api-key", "new")])
def test_help_has_examples(call, command):
    code, out, _ = call(*command, "--help")
    assert code == 0
    assert command == ("api-key", "new") or "examples:" in out


def test_key_may_have_scopes_of_the_console(configure, call):
    configure(COMPLETE)
    code, out, _ = call("api-key", "new", "asha", "--scope", "observe", "--scope", "operate")
    assert (code, 'scopes = ["observe", "operate"]' in out) == (0, True)
