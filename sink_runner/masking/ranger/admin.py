"""Call the REST API of Ranger Admin, by the HTTP layer of Ranger's own Python client.

The models of that client drop fields that they do not know, even some that decide.  So the JSON is
sent and received unchanged.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.util import find_spec
from typing import Any, NamedTuple

from ...config.policies import RangerAdmin
from ...config.tls import Refusal, check_tls
from ...errors import AccessError, ConfigError, PolicyError, RetriableError

Content = dict[str, Any]
_SECONDS = 20  # to connect, and between two parts of a response
_REASON_LENGTH = 300
_BASE = "service/public/v2/api"
_DOWNLOAD = "service/plugins/policies/download"
_SECURE_DOWNLOAD = "service/plugins/secure/policies/download"
"""The path that Ranger's own plugins use with Kerberos."""


_ADVICE: Mapping[Refusal, str] = {
    "untrusted": "check policies.ca_file, and policies.admin for its host name",
    "certificate": "check policies.certificate_file and policies.key_file",
    "no TLS": "check policies.admin, which says https://",
    "TLS": "write policies.admin with https://",
}


class _Session(NamedTuple):
    http: Any
    """`RangerClientHttp`, which has no types."""
    context: ssl.SSLContext | None


class Admin:
    """The client of one service of a Ranger Admin.

    Secrets and files are read for the first request, and again when Ranger Admin refuses them, so a
    rotation needs no restart.
    """

    def __init__(self, settings: RangerAdmin, service: str) -> None:
        self._settings = settings
        self.service = service
        self._session: _Session | None = None

    def download(self, known_version: int = -1) -> Content | None:
        """Return the service's policies as plugins get them; None if `known_version` is current."""
        params = {"lastKnownVersion": known_version, "pluginId": "sink-runner"}
        path = _SECURE_DOWNLOAD if self._settings.kerberos else _DOWNLOAD
        path = f"{path}/{self.service}"
        return self._call("GET", path, params=params, empty=HTTPStatus.NOT_MODIFIED)

    def policies(self) -> list[Content]:
        found: Any = self._call("GET", f"{_BASE}/service/{self.service}/policy")
        return list(found)

    def create(self, policy: Content) -> Content:
        return self._request("POST", f"{_BASE}/policy", policy)

    def update(self, number: int, policy: Content) -> Content:
        return self._request("PUT", f"{_BASE}/policy/{number}", policy)

    def delete(self, number: int) -> None:
        self._call("DELETE", f"{_BASE}/policy/{number}", expected=HTTPStatus.NO_CONTENT)

    def definition(self, name: str) -> Content | None:
        """Return the service definition of this name; None if Ranger has none."""
        return self._call(
            "GET", f"{_BASE}/servicedef/name/{name}", params=None, empty=HTTPStatus.NOT_FOUND
        )

    def create_definition(self, definition: Content) -> Content:
        return self._request("POST", f"{_BASE}/servicedef", definition)

    def exists(self) -> bool:
        path = f"{_BASE}/service/name/{self.service}"
        return self._call("GET", path, empty=HTTPStatus.NOT_FOUND) is not None

    def create_service(self, kind: str) -> Content:
        made = {"name": self.service, "type": kind, "isEnabled": True, "configs": {}}
        return self._request("POST", f"{_BASE}/service", made)

    def _request(self, method: str, path: str, content: Content) -> Content:
        found = self._call(method, path, content=content)
        assert found is not None
        return found

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: Content | None = None,
        expected: HTTPStatus = HTTPStatus.OK,
        empty: HTTPStatus | None = None,
    ) -> Content | None:
        """Return the JSON of the response; None for a response of status `empty`.

        Raises PolicyError if Ranger refuses the request, AccessError if it refuses the client or
        its certificate is not trusted, RetriableError for an outage.
        """
        from apache_ranger.client.ranger_client import (  # noqa: PLC0415 - an extra
            API,
            HttpMethod,
        )

        def check_status(response: Any, **_: Any) -> None:
            if response.status_code == empty:
                raise _EmptyError
            if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                raise self._refused(response)
            if response.status_code != expected:
                raise _refusal(method, path, response)

        def send() -> Content | None:
            return self._send(
                API(path, HttpMethod[method], expected), params, content, check_status
            )

        try:
            try:
                return send()
            except AccessError:
                self._session = None  # credentials that are read again may be accepted
                return send()
        except _EmptyError:
            return None

    def _send(
        self,
        api: Any,
        params: Mapping[str, Any] | None,
        content: Content | None,
        check_status: Callable[..., None],
    ) -> Content | None:
        from requests import RequestException  # noqa: PLC0415

        self._session = session = self._session or self._sign_in()
        # Without this hook the client prints failures, and returns None for what it did not find.
        session.http.session.hooks["response"] = [check_status]
        try:
            found: Content | None = session.http.call_api(api, params, content)
        except RequestException as fault:
            check_tls("Ranger Admin", self._settings.admin, session.context, _ADVICE, _SECONDS)
            why = type(fault).__name__
            raise RetriableError(f"Ranger Admin does not answer: {why}") from fault
        return found

    def _sign_in(self) -> _Session:
        from apache_ranger.client.ranger_client import RangerClientHttp  # noqa: PLC0415

        settings = self._settings
        try:
            context = settings.tls_context() if settings.is_encrypted else None
        except ValueError as fault:
            raise ConfigError(f"policies: {fault}") from None
        http = RangerClientHttp(settings.admin, self._login())
        for scheme in ("http://", "https://"):
            http.session.mount(scheme, _adapter(settings.pool_options(context)))
        return _Session(http, context)

    def _login(self) -> Any:
        """Return the credentials, in the form that requests expects."""
        settings = self._settings
        if settings.kerberos:
            try:
                from requests_kerberos import HTTPKerberosAuth  # noqa: PLC0415 - not required
            except ImportError as fault:
                raise ConfigError(
                    "policies.kerberos needs a library that is missing: "
                    "pip install requests-kerberos"
                ) from fault
            return HTTPKerberosAuth()
        if settings.password is not None:
            return settings.user.encode(), settings.password.read().encode()
        return lambda request: request  # without any, requests would look into ~/.netrc

    def _refused(self, response: Any) -> AccessError:
        settings = self._settings
        who, keys = "a client without credentials", "policies.user and policies.password"
        if settings.kerberos:
            who, keys = "the Kerberos ticket", "it with klist, and its principal's rights in Ranger"
        elif settings.user:
            who = f"user {settings.user!r}"
        return AccessError(
            f"Ranger Admin {settings.admin} refuses {who} (status {response.status_code}"
            f"{_reason(response)}): check {keys}"
        )


class _EmptyError(Exception):
    """The response has the status that the caller expects for a missing object."""


def connect(settings: RangerAdmin, service: str) -> Admin:
    """Return a client, which sends its first request later.

    Raises ConfigError if the extra `ranger` is not installed.
    """
    if not settings.admin:
        raise ConfigError("policies.admin is not set: the URL of Ranger Admin")
    if find_spec("apache_ranger") is None:
        raise ConfigError("Ranger's client is missing: pip install 'sink-runner[ranger]'")
    return Admin(settings, service)


def _adapter(tls: dict[str, Any]) -> Any:
    """Return an adapter of requests that has a time limit and trusts the context's authorities."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
            super().init_poolmanager(*sizes, **(options | tls))

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **options, **tls)

        def cert_verify(self, *_: Any) -> None:
            """Add no public authorities to those of the context."""

        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            # `verify` would name the authorities of REQUESTS_CA_BUNDLE.
            return super().send(request, **options | {"timeout": _SECONDS, "verify": True})

    return Adapter()


def _refusal(method: str, path: str, response: Any) -> Exception:
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return RetriableError("Ranger Admin does not answer: it is unavailable")
    status = response.status_code
    return PolicyError(f"Ranger Admin answered {status} to {method} {path}{_reason(response)}")


def _reason(response: Any) -> str:
    """Return a colon and the reason that Ranger gives; "" if it gives none."""
    try:
        reason = " ".join(str(response.json()["msgDesc"]).split())
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {reason[:_REASON_LENGTH]}" if reason else ""
