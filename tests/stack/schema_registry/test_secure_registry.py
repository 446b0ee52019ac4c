"""The client against the real registry with TLS and a login, and behind gateways."""

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
from .gateway import Gateway, basic
from .server import PASSWORD, USER, Server

pytestmark = pytest.mark.stack
LOGIN = {"username": USER, "password": PASSWORD}
KEY_PASSWORD = "key horse"


@pytest.fixture
def reader() -> Iterator[Callable[[Registry], SchemaCache]]:
    made: list[SchemaCache] = []

    def open_(settings: Registry) -> SchemaCache:
        made.append(SchemaCache(settings))
        return made[-1]

    yield open_
    for one in made:
        one.close()


Reading = Callable[[Registry], SchemaCache]
Gateways = Callable[..., Gateway]


def refused(reader: Reading, settings: Registry) -> str:
    """The message of a refusal, which holds no secret."""
    with pytest.raises(AccessError) as found:
        reader(settings).latest(SUBJECT)
    assert PASSWORD not in str(found.value)
    return str(found.value)


def test_schemas_are_read_with_a_login(settings: Settings, reader: Reading) -> None:
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
    settings: Settings, reader: Reading, server: Server, login: Any, message: str
) -> None:
    message_text = refused(reader, settings(**login))
    assert message in message_text
    assert f"{server.url} refuses" in message_text
    assert "check registry." in message_text


def test_untrusted_certificate_is_refused(
    settings: Settings, reader: Reading, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    message_text = refused(reader, settings(**LOGIN, ca_file=str(other.file)))
    assert "has a certificate that is not trusted" in message_text
    assert "check registry.ca_file" in message_text


def test_certificate_of_another_host_is_refused(
    settings: Settings, reader: Reading, server: Server
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    assert "not trusted" in refused(reader, settings(**LOGIN, url=url))
    assert reader(settings(**LOGIN, url=url, check_hostname=False)).latest(SUBJECT)


def test_scheme_that_does_not_fit_port_is_named(
    settings: Settings, reader: Reading, server: Server
) -> None:
    plain = f"https://127.0.0.1:{server.plaintext}/apis/ccompat/v7"
    assert "does not speak TLS" in refused(reader, settings(**LOGIN, url=plain))
    secure = server.url.replace("https:", "http:")
    message_text = refused(reader, settings(**LOGIN, url=secure, allow_plaintext_credentials=True))
    assert "expects TLS: write registry.url with https://" in message_text


def test_bearer_token_of_a_command_is_sent(
    settings: Settings, reader: Reading, gateways: Gateways
) -> None:
    front = gateways()
    front.logins = {"Bearer abc.def"}
    token = {"command": [sys.executable, "-c", "print('abc.def')"]}
    assert reader(settings(url=front.url, token=token)).latest(SUBJECT)


def test_rotated_secret_is_read_when_it_is_refused(
    settings: Settings, reader: Reading, gateways: Gateways, tmp_path: Path
) -> None:
    front, secret = gateways(), tmp_path / "secret"
    front.logins = {basic(USER, "first")}
    secret.write_text("first\n")
    one = reader(settings(url=front.url, username=USER, password={"file": str(secret)}))
    assert one.latest(SUBJECT)
    secret.write_text("second\n")
    assert one.latest(SUBJECT)  # the registry still takes the old one
    front.logins = {basic(USER, "second")}
    assert one.latest(SUBJECT)
    secret.unlink()
    front.logins = {basic(USER, "third")}
    with pytest.raises(ConfigError, match=r"registry\.password: .*No such file"):
        one.latest(SUBJECT)


def test_token_unfit_for_header_is_not_quoted(
    settings: Settings, reader: Reading, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("two\nlines")
    with pytest.raises(ConfigError, match="must be one line") as found:
        reader(settings(token={"file": str(secret)})).latest(SUBJECT)
    assert "two" not in str(found.value)


def test_client_certificate_is_presented(
    settings: Settings, reader: Reading, gateways: Gateways, server: Server, tmp_path: Path
) -> None:
    front = gateways()
    front.demand_certificate(server.authority)
    certificate, key = server.authority.issue("client", password=KEY_PASSWORD)
    files = {
        "certificate_file": str(certificate),
        "key_file": str(key),
        "key_password": KEY_PASSWORD,
    }
    assert reader(settings(url=front.url, **files)).latest(SUBJECT)
    assert "refuses the client certificate" in refused(reader, settings(url=front.url))
    stranger = Authority(tmp_path, "stranger").issue("stranger")
    files = {"certificate_file": str(stranger[0]), "key_file": str(stranger[1])}
    message_text = refused(reader, settings(url=front.url, **files))
    assert "check registry.certificate_file and registry.key_file" in message_text


def test_rotated_authority_is_read_when_it_is_refused(
    settings: Settings, reader: Reading, gateways: Gateways, tmp_path: Path
) -> None:
    front, authority = gateways(), tmp_path / "authority.pem"
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    authority.write_bytes(old.file.read_bytes())
    front.present(old.issue("front"))
    one = reader(settings(url=front.url, ca_file=str(authority)))
    assert one.latest(SUBJECT)
    one.close()
    front.present(new.issue("front"))
    with pytest.raises(AccessError, match="not trusted"):
        one.latest(SUBJECT)
    authority.write_bytes(new.file.read_bytes())
    assert one.latest(SUBJECT)


def test_next_url_is_used_during_outage(
    settings: Settings, reader: Reading, gateways: Gateways
) -> None:
    broken, front = gateways(), gateways()
    broken.status = 503
    nothing = f"https://127.0.0.1:{ports.any_free(frozenset())}/apis/ccompat/v7"
    one = reader(settings(url=f"{nothing}, {broken.url},{front.url}/"))
    assert one.latest(SUBJECT)
    assert len(broken.requests) == 1
    assert one.latest(SUBJECT)
    assert len(broken.requests) == 1, "the one that answered comes first"
    broken.status, front.status = None, 503
    assert one.latest(SUBJECT)
    broken.status = 503
    with pytest.raises(RetriableError, match=r"does not answer|answers 503"):
        one.latest(SUBJECT)


def test_refusal_is_reported_when_no_url_answers(
    settings: Settings, reader: Reading, gateways: Gateways
) -> None:
    front = gateways()
    nothing = f"https://127.0.0.1:{ports.any_free(frozenset())}"
    front.logins = {"none"}
    message_text = refused(reader, settings(**LOGIN, url=f"{front.url},{nothing}"))
    assert f"{front.url} refuses user" in message_text


def test_redirection_gets_no_credentials(
    settings: Settings, reader: Reading, gateways: Gateways
) -> None:
    front = gateways()
    front.status = 302
    with pytest.raises(RetriableError, match="answers 302"):
        reader(settings(**LOGIN, url=front.url)).latest(SUBJECT)
    assert len(front.requests) == 1


def test_api_logs_refusal_once_and_is_not_ready(settings: Settings) -> None:
    subjects = Subjects(settings(username=USER, password="wrong"), keep_seconds=0)
    with capture_logs() as logs:
        assert [subjects.answers(), subjects.answers()] == [False, False]
    subjects.close()
    (entry,) = [entry for entry in logs if entry["event"] == "schema_registry_failed"]
    assert "refuses user 'sink' (status 401)" in entry["reason"]
