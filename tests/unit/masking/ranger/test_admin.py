"""Ranger Admin behind TLS, with a client certificate, rotated secrets and Kerberos."""

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sink_runner.config.policies import RangerAdmin
from sink_runner.config.reader import SettingError, SettingsReader
from sink_runner.errors import AccessError, ConfigError, RetriableError
from sink_runner.masking.ranger.admin import connect

from ....stack.ranger.cases import DEFINITION
from ....support.certificates import Authority
from ....support.ranger_admin import PASSWORD, Admin, admin, admin_settings

SERVICE = "sink_prod"
SECRET = "hunter2"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve(authority: Authority) -> Iterator[Callable[..., Admin]]:
    """Return a function that starts a Ranger Admin with TLS, or with mutual TLS."""
    with ExitStack() as stack:

        def start(*, mutual: bool = False) -> Admin:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue("server"))
            if mutual:
                context.load_verify_locations(authority.file)
                context.verify_mode = ssl.CERT_REQUIRED
            ranger = stack.enter_context(admin(context))
            ranger.add_service(SERVICE, DEFINITION)
            return ranger

        yield start


def over_tls(ranger: Admin, authority: Authority, **changes: Any) -> RangerAdmin:
    settings = {"ca_file": str(authority.file), "allow_plaintext_credentials": None}
    return admin_settings(ranger.url, **settings | changes)


def test_policies_are_downloaded_over_tls(serve, authority: Authority) -> None:
    ranger = serve()
    client = connect(over_tls(ranger, authority), SERVICE)
    assert client.download()["serviceName"] == SERVICE
    assert len(client.policies()) == 1


def test_only_configured_authority_is_trusted(
    serve, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranger, other = serve(), Authority(tmp_path, "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    settings = over_tls(ranger, authority, ca_file=str(other.file))
    with pytest.raises(AccessError, match=r"not trusted \(.*\): check policies\.ca_file"):
        connect(settings, SERVICE).download()
    assert ranger.requests == []


def test_host_name_is_checked_unless_switched_off(serve, authority: Authority) -> None:
    ranger = serve()
    ranger.url = ranger.url.replace("127.0.0.1", "localhost")
    with pytest.raises(AccessError, match=r"localhost.*policies\.admin for its host name"):
        connect(over_tls(ranger, authority), SERVICE).download()
    settings = over_tls(ranger, authority, check_hostname=False)
    assert connect(settings, SERVICE).download()


def test_client_certificate_is_presented(serve, authority: Authority, tmp_path: Path) -> None:
    ranger = serve(mutual=True)
    with pytest.raises(AccessError, match=r"refuses the client certificate .*certificate_file"):
        connect(over_tls(ranger, authority), SERVICE).download()
    certificate, key = authority.issue("sink", password=SECRET)
    files = {"certificate_file": str(certificate), "key_file": str(key), "key_password": SECRET}
    assert connect(over_tls(ranger, authority, **files), SERVICE).download()
    stranger, key = Authority(tmp_path, "other").issue("stranger")
    files = {"certificate_file": str(stranger), "key_file": str(key)}
    with pytest.raises(AccessError, match="refuses the client certificate"):
        connect(over_tls(ranger, authority, **files), SERVICE).download()


def test_wrong_scheme_is_named(serve, authority: Authority) -> None:
    ranger = serve()
    plain = admin_settings(ranger.url.replace("https:", "http:"))
    with pytest.raises(AccessError, match=r"expects TLS: write policies\.admin with https://"):
        connect(plain, SERVICE).download()
    with admin() as without_tls:
        without_tls.url = without_tls.url.replace("http:", "https:")
        client = connect(over_tls(without_tls, authority), SERVICE)
        with pytest.raises(AccessError, match="does not speak TLS: check policies"):
            client.download()


def test_unreachable_admin_is_transient_error(authority: Authority) -> None:
    settings = admin_settings("https://127.0.0.1:9", ca_file=str(authority.file))
    with pytest.raises(RetriableError, match="does not answer: ConnectionError"):
        connect(settings, SERVICE).download()


def test_rotated_password_is_read_after_refusal(
    serve, authority: Authority, tmp_path: Path
) -> None:
    ranger, path = serve(), tmp_path / "password"
    path.write_text(PASSWORD)
    client = connect(over_tls(ranger, authority, password={"file": str(path)}), SERVICE)
    client.policies()
    ranger.password = "पासवर्ड"
    with pytest.raises(AccessError, match=r"refuses user 'admin' .*policies\.password") as caught:
        client.policies()
    assert PASSWORD not in str(caught.value)
    path.write_text(ranger.password)
    assert client.policies()


def test_rotated_authority_is_read_after_refusal(
    serve, authority: Authority, tmp_path: Path
) -> None:
    ranger, path = serve(), tmp_path / "current.pem"
    path.write_bytes(Authority(tmp_path, "old").file.read_bytes())
    client = connect(over_tls(ranger, authority, ca_file=str(path)), SERVICE)
    with pytest.raises(AccessError, match="not trusted"):
        client.download()
    path.write_bytes(authority.file.read_bytes())
    assert client.download()


def test_client_without_credentials_sends_none(
    serve, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials in ~/.netrc, which the library requests would use, are not sent either."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login admin password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    ranger = serve()
    settings = over_tls(ranger, authority, user=None, password=None)
    assert connect(settings, SERVICE).download()
    assert ranger.authorizations == [None]


# -- Kerberos ----------------------------------------------------------------------------------


def test_error_names_missing_kerberos_library(serve, authority: Authority) -> None:
    settings = over_tls(serve(), authority, user=None, password=None, kerberos=True)
    with pytest.raises(ConfigError, match="pip install requests-kerberos"):
        connect(settings, SERVICE).download()


def test_kerberos_signs_requests_to_the_secure_download(
    serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake library signs the requests, because there is no Kerberos ticket in a unit test."""
    library = ModuleType("requests_kerberos")

    def sign(request: Any) -> Any:
        request.headers["Authorization"] = "Negotiate dGlja2V0"
        return request

    library.HTTPKerberosAuth = lambda: sign
    monkeypatch.setitem(sys.modules, "requests_kerberos", library)
    ranger = serve()
    settings = over_tls(ranger, authority, user=None, password=None, kerberos=True)
    client = connect(settings, SERVICE)
    assert client.download()
    assert ranger.requests == [f"GET /service/plugins/secure/policies/download/{SERVICE}"]
    assert ranger.authorizations == ["Negotiate dGlja2V0"]
    with pytest.raises(AccessError, match=r"refuses the Kerberos ticket .*klist"):
        client.policies()


# -- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"admin": "ranger:6080"}, "policies: admin: expected http://host:port/path"),
        ({"admin": f"https://sink:{SECRET}@ranger"}, "set policies.user and policies.password"),
        (
            {"admin": "http://ranger", "user": "sink", "password": SECRET},
            "admin with http:// sends credentials without encryption: use https://, or set allow_",
        ),
        ({"admin": "http://ranger", "kerberos": True}, "sends credentials without encryption"),
        ({"admin": "https://ranger", "user": "sink"}, "user and password need each other"),
        ({"admin": "https://ranger", "password": SECRET}, "user and password need each other"),
        (
            {"admin": "https://ranger", "user": "a", "password": SECRET, "kerberos": True},
            "kerberos needs no user and password",
        ),
        ({"admin": "http://ranger", "ca_file": "/ca.pem"}, "ca_file needs admin with https://"),
        ({"admin": "https://ranger", "ca_file": "/no/ca.pem"}, "ca_file: /no/ca.pem: No such file"),
    ],
)
def test_contradicting_settings_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        SettingsReader().read(RangerAdmin, table, "policies")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_config_prints_no_credentials(configured, call) -> None:
    more = f'\n[policies]\nadmin = "https://sink:{SECRET}@ranger"\npassword = "{SECRET}"\n'
    configured(more=more)
    code, out, err = call("config")
    assert code == 78
    assert SECRET not in out + err
    assert "policies.password = ***" in out
