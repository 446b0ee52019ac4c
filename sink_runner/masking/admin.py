"""Ranger Admin's REST API, by the HTTP layer of Ranger's own Python client.

The client's models drop fields that they do not know, among them some that decide; so what is
sent and received here is the JSON as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..errors import ConfigError, PolicyError, RetriableError

Content = dict[str, Any]
_SECONDS = 20  # to connect, and between two parts of an answer
_MOST = 300  # characters of what Ranger says is wrong
_BASE = "service/public/v2/api"
_DOWNLOAD = "service/plugins/policies/download"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """One service of one Ranger Admin."""

    http: Any
    """`RangerClientHttp`, which has no types."""
    service: str

    def download(self, known_version: int = -1) -> Content | None:
        """The service's policies as plugins get them; None if those of `known_version` hold."""
        asked = {"lastKnownVersion": known_version, "pluginId": "sink-runner"}
        path = f"{_DOWNLOAD}/{self.service}"
        return self._call("GET", path, params=asked, empty=HTTPStatus.NOT_MODIFIED)

    def policies(self) -> list[Content]:
        found: Any = self._call("GET", f"{_BASE}/service/{self.service}/policy")
        return list(found)

    def create(self, policy: Content) -> Content:
        return self._asked("POST", f"{_BASE}/policy", policy)

    def update(self, number: int, policy: Content) -> Content:
        return self._asked("PUT", f"{_BASE}/policy/{number}", policy)

    def delete(self, number: int) -> None:
        self._call("DELETE", f"{_BASE}/policy/{number}", expected=HTTPStatus.NO_CONTENT)

    def definition(self, name: str) -> Content | None:
        """The service definition; None if Ranger has none of this name."""
        return self._call(
            "GET", f"{_BASE}/servicedef/name/{name}", params=None, empty=HTTPStatus.NOT_FOUND
        )

    def create_definition(self, definition: Content) -> Content:
        return self._asked("POST", f"{_BASE}/servicedef", definition)

    def exists(self) -> bool:
        path = f"{_BASE}/service/name/{self.service}"
        return self._call("GET", path, empty=HTTPStatus.NOT_FOUND) is not None

    def create_service(self, kind: str) -> Content:
        made = {"name": self.service, "type": kind, "isEnabled": True, "configs": {}}
        return self._asked("POST", f"{_BASE}/service", made)

    def _asked(self, method: str, path: str, content: Content) -> Content:
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
        """None for an answer of status `empty`."""
        from apache_ranger.client.ranger_client import (  # noqa: PLC0415 - an extra
            API,
            HttpMethod,
        )
        from requests import RequestException  # noqa: PLC0415

        def judge(response: Any, **_: Any) -> None:
            if response.status_code == empty:
                raise _EmptyError
            if response.status_code != expected:
                raise _refusal(method, path, response)

        # Left to itself, the client prints what failed, and says None to what it did not find.
        self.http.session.hooks["response"] = [judge]
        try:
            found: Content | None = self.http.call_api(
                API(path, HttpMethod[method], expected), params, content
            )
        except _EmptyError:
            return None
        except RequestException as fault:
            why = type(fault).__name__
            raise RetriableError(f"Ranger Admin does not answer: {why}") from fault
        return found


class _EmptyError(Exception):
    """There is nothing, and that is an answer."""


def connect(url: str, user: str, password: str, service: str) -> Admin:
    """Make a client; nothing is asked yet.  ConfigError where the extra is not installed."""
    if not url:
        raise ConfigError("policies.admin is not set: the URL of Ranger Admin")
    try:
        from apache_ranger.client.ranger_client import RangerClientHttp  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415
    except ImportError as fault:
        raise ConfigError(
            "Ranger's client is missing: pip install 'sink-runner[ranger]'"
        ) from fault

    class Patient(HTTPAdapter):
        """The library waits for ever unless it is told not to."""

        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            return super().send(request, **options | {"timeout": _SECONDS})

    http = RangerClientHttp(url, (user, password))
    for scheme in ("http://", "https://"):
        http.session.mount(scheme, Patient())
    return Admin(http=http, service=service)


def _refusal(method: str, path: str, response: Any) -> Exception:
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return RetriableError("Ranger Admin does not answer: it is unavailable")
    try:
        reason = str(response.json()["msgDesc"])
    except (ValueError, KeyError, TypeError):
        reason = ""
    why = f": {' '.join(reason.split())[:_MOST]}" if reason else ""
    return PolicyError(f"Ranger Admin answered {response.status_code} to {method} {path}{why}")
