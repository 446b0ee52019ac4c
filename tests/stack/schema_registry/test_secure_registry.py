"""The registry client with a real registry that has TLS and a login, also behind gateways."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sink_stack import ports
from structlog.testing import capture_logs

from sink_runner.api.subjects import Subjects
from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.config.registry import Registry
from sink_runner.errors import AccessError, ConfigError, RetriableError

from ...support.certificates import Authority
from .conftest import SUBJECT, Settings
from .gateway import Gateway, basic_login
from .server import PASSWORD, USER, Server

pytestmark = pytest.mark.secure
LOGIN = {"username": USER, "password": PASSWORD}
KEY_PASSWORD = "key horse"


@pytest.fixture
def reader() -> Iterator[Callable[[Registry], SchemaCache]]:
    caches: list[SchemaCache] = []

    def open_cache(settings: Registry) -> SchemaCache:
        caches.append(SchemaCache(settings))
        return caches[-1]

    yield open_cache
    for one in caches:
        one.close()


Reader = Callable[[Registry], SchemaCache]
Gateways = Callable[..., Gateway]


def refusal(reader: Reader, settings: Registry) -> str:
    """Return the message of a refused request; it must not contain the password."""
    with pytest.raises(AccessError) as found:
        reader(settings).latest(SUBJECT)
    assert PASSWORD not in str(found.value)
    return str(found.value)


def test_schemas_are_read_with_a_login(settings: Settings, reader: Reader) -> None:
    number, schema = reader(settings(**LOGIN)).latest(SUBJECT) or (0, None)
    assert schema == "string"
    assert reader(settings(**LOGIN)).schema(number) == "string"


def test_api_registers_schemas_with_a_login(settings: Settings) -> None:
    subjects = Subjects(settings(**LOGIN), keep_seconds=0)
    assert subjects.answers()
    first = subjects.find_newest("secure.sent-key", '"string"')
    assert subjects.find_newest("secure.sent-key", '"long"') == first
    assert subjects.find_or_register("secure.sent-value", '"long"')[1] == '"long"'
    subjects.close()


@pytest.mark.parametrize(
    ("login", "message"),
    [
        ({}, "refuses a client without credentials"),
        ({"username": USER, "password": "wrong"}, "refuses user 'sink'"),
        ({"token": "wrong"}, "refuses the token"),
    ],
)
def test_wrong_login_is_refused(
    settings: Settings, reader: Reader, server: Server, login: Any, message: str
) -> None:
    message_text = refusal(reader, settings(**login))
    assert message in message_text
    assert f"{server.url} refuses" in message_text
    assert "check registry." in message_text


def test_untrusted_certificate_is_refused(
    settings: Settings, reader: Reader, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    message_text = refusal(reader, settings(**LOGIN, ca_file=str(other.file)))
    assert "has a certificate that is not trusted" in message_text
    assert "check registry.ca_file" in message_text


def test_certificate_of_another_host_is_refused(
    settings: Settings, reader: Reader, server: Server
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    assert "not trusted" in refusal(reader, settings(**LOGIN, url=url))
    assert reader(settings(**LOGIN, url=url, check_hostname=False)).latest(SUBJECT)


def test_wrong_scheme_of_url_is_named(settings: Settings, reader: Reader, server: Server) -> None:
    plain = f"https://127.0.0.1:{server.plaintext}/apis/ccompat/v7"
    assert "does not speak TLS" in refusal(reader, settings(**LOGIN, url=plain))
    secure = server.url.replace("https:", "http:")
    message_text = refusal(reader, settings(**LOGIN, url=secure, allow_plaintext_credentials=True))
    assert "expects TLS: write registry.url with https://" in message_text


def test_bearer_token_of_a_command_is_sent(
    settings: Settings, reader: Reader, gateways: Gateways
) -> None:
    gateway = gateways()
    gateway.logins = {"Bearer abc.def"}
    token = {"command": [sys.executable, "-c", "print('abc.def')"]}
    assert reader(settings(url=gateway.url, token=token)).latest(SUBJECT)


def test_rotated_secret_is_read_when_it_is_refused(
    settings: Settings, reader: Reader, gateways: Gateways, tmp_path: Path
) -> None:
    gateway, secret = gateways(), tmp_path / "secret"
    gateway.logins = {basic_login(USER, "first")}
    secret.write_text("first\n")
    cache = reader(settings(url=gateway.url, username=USER, password={"file": str(secret)}))
    assert cache.latest(SUBJECT)
    secret.write_text("second\n")
    assert cache.latest(SUBJECT)  # the registry still accepts the old password
    gateway.logins = {basic_login(USER, "second")}
    assert cache.latest(SUBJECT)
    secret.unlink()
    gateway.logins = {basic_login(USER, "third")}
    with pytest.raises(ConfigError, match=r"registry\.password: .*No such file"):
        cache.latest(SUBJECT)


def test_token_unfit_for_header_is_not_quoted(
    settings: Settings, reader: Reader, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("two\nlines")
    with pytest.raises(ConfigError, match="must be one line") as found:
        reader(settings(token={"file": str(secret)})).latest(SUBJECT)
    assert "two" not in str(found.value)


def test_client_certificate_is_presented(
    settings: Settings, reader: Reader, gateways: Gateways, server: Server, tmp_path: Path
) -> None:
    gateway = gateways()
    gateway.require_certificate(server.authority)
    certificate, key = server.authority.issue("client", password=KEY_PASSWORD)
    files = {
        "certificate_file": str(certificate),
        "key_file": str(key),
        "key_password": KEY_PASSWORD,
    }
    assert reader(settings(url=gateway.url, **files)).latest(SUBJECT)
    assert "refuses the client certificate" in refusal(reader, settings(url=gateway.url))
    stranger = Authority(tmp_path, "stranger").issue("stranger")
    files = {"certificate_file": str(stranger[0]), "key_file": str(stranger[1])}
    message_text = refusal(reader, settings(url=gateway.url, **files))
    assert "check registry.certificate_file and registry.key_file" in message_text


def test_rotated_authority_is_read_when_it_is_refused(
    settings: Settings, reader: Reader, gateways: Gateways, tmp_path: Path
) -> None:
    gateway, authority = gateways(), tmp_path / "authority.pem"
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    authority.write_bytes(old.file.read_bytes())
    gateway.use_certificate(old.issue("front"))
    cache = reader(settings(url=gateway.url, ca_file=str(authority)))
    assert cache.latest(SUBJECT)
    cache.close()
    gateway.use_certificate(new.issue("front"))
    with pytest.raises(AccessError, match="not trusted"):
        cache.latest(SUBJECT)
    authority.write_bytes(new.file.read_bytes())
    assert cache.latest(SUBJECT)


def test_next_url_is_used_during_outage(
    settings: Settings, reader: Reader, gateways: Gateways
) -> None:
    broken, gateway = gateways(), gateways()
    broken.status = 503
    unused_url = f"https://127.0.0.1:{ports.any_free(frozenset())}/apis/ccompat/v7"
    cache = reader(settings(url=f"{unused_url}, {broken.url},{gateway.url}/"))
    assert cache.latest(SUBJECT)
    assert len(broken.requests) == 1
    assert cache.latest(SUBJECT)
    assert len(broken.requests) == 1, "the URL that answered is tried first"
    broken.status, gateway.status = None, 503
    assert cache.latest(SUBJECT)
    broken.status = 503
    with pytest.raises(RetriableError, match=r"does not answer|answers 503"):
        cache.latest(SUBJECT)


def test_refusal_is_reported_when_no_url_answers(
    settings: Settings, reader: Reader, gateways: Gateways
) -> None:
    gateway = gateways()
    unused_url = f"https://127.0.0.1:{ports.any_free(frozenset())}"
    gateway.logins = {"none"}
    message_text = refusal(reader, settings(**LOGIN, url=f"{gateway.url},{unused_url}"))
    assert f"{gateway.url} refuses user" in message_text


def test_redirection_gets_no_credentials(
    settings: Settings, reader: Reader, gateways: Gateways
) -> None:
    gateway = gateways()
    gateway.status = 302
    with pytest.raises(RetriableError, match="answers 302"):
        reader(settings(**LOGIN, url=gateway.url)).latest(SUBJECT)
    assert len(gateway.requests) == 1


def test_api_logs_refusal_once_and_is_not_ready(settings: Settings) -> None:
    subjects = Subjects(settings(username=USER, password="wrong"), keep_seconds=0)
    with capture_logs() as logs:
        assert [subjects.answers(), subjects.answers()] == [False, False]
    subjects.close()
    (entry,) = [entry for entry in logs if entry["event"] == "schema_registry_failed"]
    assert "refuses user 'sink' (status 401)" in entry["reason"]
