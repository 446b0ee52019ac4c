"""The settings of the schema registry: ``[registry]``."""

from __future__ import annotations

from collections.abc import Iterator

from .reader import Secret, section
from .tls import Tls, url_faults


@section
class Registry(Tls):
    """Address and credentials of the schema registry."""

    url: str
    """Confluent-compatible API of the schema registry; several URLs of one registry are separated
    by commas, and the next one is used where one does not answer."""
    username: str = ""
    """User of basic authentication."""
    password: Secret | None = None
    """The user's password; read again when the registry refuses it."""
    token: Secret | None = None
    """Bearer token, in place of user and password; read again when it is refused."""
    allow_plaintext_credentials: bool = False
    """Permit password or token with http://, which sends them without encryption."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Each URL, without a slash at its end."""
        return tuple(url.strip().rstrip("/") for url in self.url.split(","))

    @property
    def is_encrypted(self) -> bool:
        return self.urls[0].lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        has_login = self.password or self.token
        found = [
            fault
            for url in self.urls
            for fault in url_faults(
                "url",
                url,
                login="registry.username and registry.password",
                may_be_plaintext=not has_login or self.allow_plaintext_credentials,
            )
        ]
        yield from dict.fromkeys(found)
        if found:
            return
        if "?" in self.url or "#" in self.url:
            yield "url must not have a query or a fragment"
        if bool(self.username) != bool(self.password):
            yield "username and password need each other"
        if ":" in self.username:
            yield "username must not contain ':'"
        if self.token and self.password:
            yield "token needs no username and password: set one of the two"
        if len({url.partition(":")[0].lower() for url in self.urls}) > 1:
            yield "url mixes http:// and https://"
        yield from self._unused_tls_keys("a url")
