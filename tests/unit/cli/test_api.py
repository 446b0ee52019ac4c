"""`sink-runner api` and `sink-runner api-key`: what they print, and what they refuse."""

import re
import tomllib

import pytest

from sink_runner.api.keys import hash_key
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
WHOLE = API.format(secret=SECRET)


@pytest.fixture
def configure(configured):
    def write(more=None):
        return configured("*", more=WHOLE if more is None else more)

    return write


def test_new_key_is_shown_once_with_settings(call, configure):
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
    assert key not in out  # a redirect stores it


def test_two_keys_are_never_the_same(call, configure):
    configure()
    told = [call("api-key", "new", "a", "--scope", "alerts:write")[1] for _ in range(2)]
    assert told[0] != told[1]


def test_any_name_makes_readable_settings(call, configure):
    configure()
    _, out, _ = call("api-key", "new", 'a "b".c', "--scope", "alerts:write")
    assert set(tomllib.loads(out)["api"]["clients"]) == {'a "b".c'}


def test_an_unknown_scope_is_refused(call, configure):
    configure()
    code, _, err = call("api-key", "new", "a", "--scope", "everything")
    assert code == 2
    assert "forecasts:write" in err


@pytest.mark.parametrize("command", [("api",), ("api-key", "new", "a", "--scope", "alerts:write")])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "[api] is missing"),
        (API.format(secret=""), "api.secret has less than 32 characters"),
        (API.format(secret="short"), "api.secret has less than 32 characters"),
        (
            WHOLE.replace("north.public.alerts", "alerts"),
            "api.tables.alerts: 'alerts' is not of the form",
        ),
        (API.replace("alerts =", "alarms =").format(secret=SECRET), "api.tables.alarms is unknown"),
    ],
)
def test_what_is_wrong_with_set_up_is_told(call, configure, command, more, words):
    configure(more)
    code, _, err = call(*command)
    assert code == 78
    assert words in err
    assert "short" not in err.replace("api.secret", "")


def test_a_database_that_nobody_configured_is_refused(call, configure):
    policies = f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n'
    configure(WHOLE.replace('"north"', '"south"') + policies)
    code, _, err = call("api")
    assert code == 78
    assert "api.database: unknown database 'south'" in err


def test_unknown_scope_of_client_is_refused(call, configure):
    configure(WHOLE + '[api.clients.a]\nscopes = ["forecasts:all"]\n')
    code, _, err = call("api")
    assert code == 78
    assert "api.clients.a.scopes[0]" in err


def test_the_secret_is_never_shown(call, configure):
    configure()
    assert SECRET not in call("config")[1]


@pytest.mark.parametrize("command", [("api",), ("api-key",), ("api-key", "new")])
def test_help_teaches(call, command):
    code, out, _ = call(*command, "--help")
    assert code == 0
    assert command == ("api-key", "new") or "examples:" in out
