"""Settings of the schema registry: ``[registry]``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ..settings import Secret, doc
from ..tls import TLS_KEYS, Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Tls):
    """Where the schemas of the events are, and how to sign in there."""

    url: str = field(
        metadata=doc(
            "Confluent-compatible API of the schema registry; several URLs of one registry are "
            "separated by commas, and the next one is asked where one does not answer."
        )
    )
    username: str = field(default="", metadata=doc("User of basic authentication."))
    password: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("The user's password; read again when the registry refuses it."),
    )
    token: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("Bearer token, in place of user and password; read again when it is refused."),
    )
    allow_plaintext_credentials: bool = field(
        default=False,
        metadata=doc("Permit password or token with http://, which sends them without encryption."),
    )

    def __post_init__(self) -> None:
        if faults := [*self._faults()]:
            raise ValueError("; ".join(faults))
        if self.is_encrypted:
            self.tls_context()  # a missing or unusable file is reported when it is configured

    @property
    def urls(self) -> tuple[str, ...]:
        """Each URL, without a slash at its end."""
        return tuple(url.strip().rstrip("/") for url in self.url.split(","))

    @property
    def is_encrypted(self) -> bool:
        return self.urls[0].lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        found = [fault for url in self.urls for fault in _url_faults(url)]
        yield from dict.fromkeys(found)
        if found:
            return
        if bool(self.username) != bool(self.password):
            yield "username and password need each other"
        if ":" in self.username:
            yield "username must not contain ':'"
        if self.token and self.password:
            yield "token needs no username and password: set one of the two"
        if len({url.partition(":")[0].lower() for url in self.urls}) > 1:
            yield "url mixes http:// and https://"
        is_signed = self.password or self.token
        if is_signed and not self.is_encrypted and not self.allow_plaintext_credentials:
            yield (
                "url with http:// sends the password or token without encryption: use https://, "
                "or set allow_plaintext_credentials = true"
            )
        if not self.is_encrypted:
            for key in TLS_KEYS:
                if getattr(self, key):
                    yield f"{key} needs a url with https://"


def _url_faults(url: str) -> Iterator[str]:
    """Describe what is wrong with a URL, which is not quoted: it may hold a password."""
    try:
        parts = urlsplit(url)
        is_usable = _is_usable(parts)
    except ValueError:  # of a port or an IPv6 address
        is_usable = False
    if not is_usable:
        yield "url: expected http://host:port/path or https://host:port/path"
    elif "@" in url:
        yield (
            "url holds a user or password: set registry.username and registry.password instead, "
            'for example password = { file = "/run/secrets/registry" }'
        )
    elif parts.query or parts.fragment:
        yield "url must not have a query or a fragment"


def _is_usable(parts: SplitResult) -> bool:
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
