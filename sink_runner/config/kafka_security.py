"""Settings of a secure connection to Kafka: ``[kafka.security]``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .tls import TLS_KEYS, Tls, url_faults
from .values import Secret, doc

_SASL_KEYS = ("mechanism", "username", "password", "oauth")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Where the token of mechanism OAUTHBEARER comes from."""

    token: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("The token itself, usually from a file or a command that renews it."),
    )
    token_endpoint: str = field(
        default="", metadata=doc("URL that grants tokens for client credentials (OIDC).")
    )
    client_id: str = field(default="", metadata=doc("Id that the token endpoint knows."))
    client_secret: Secret | None = field(
        default=None, repr=False, metadata=doc("Secret of that client.")
    )
    scope: str = field(default="", metadata=doc("Scope to ask for; empty: none."))
    ca_file: Path | None = field(
        default=None,
        metadata=doc("PEM file of the authorities that sign the token endpoint's certificate."),
    )

    def faults(self) -> Iterator[str]:
        """Describe impossible combinations, by key."""
        if (self.token is None) == (not self.token_endpoint):
            yield "oauth needs either token, or token_endpoint with client_id and client_secret"
        elif self.token_endpoint and not (self.client_id and self.client_secret):
            yield "oauth.token_endpoint needs oauth.client_id and oauth.client_secret"
        if self.ca_file is not None and not self.ca_file.is_file():
            yield f"oauth.ca_file: {self.ca_file} is not a file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security(Tls):
    """How the runner and Kafka prove to each other who they are."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = field(
        default="PLAINTEXT",
        metadata=doc("Kafka's security.protocol: SSL is TLS, SASL_SSL is TLS and a login."),
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = field(
        default=None, metadata=doc("Kafka's sasl.mechanism.")
    )
    username: str = field(default="", metadata=doc("User of PLAIN and SCRAM."))
    password: Secret | None = field(
        default=None, repr=False, metadata=doc("The user's password; read again for every client.")
    )
    oauth: OAuth | None = None
    allow_plaintext_credentials: bool = field(
        default=False,
        metadata=doc("Permit SASL_PLAINTEXT, which sends credentials without encryption."),
    )

    @property
    def is_encrypted(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        return self.protocol.startswith("SASL")

    def _faults(self) -> Iterator[str]:
        if not self.is_encrypted:
            yield from self._unused(TLS_KEYS, "SSL or SASL_SSL")
        if not self.has_login:
            yield from self._unused(_SASL_KEYS, "SASL_SSL")
        elif not self.is_encrypted and not self.allow_plaintext_credentials:
            yield (
                "protocol SASL_PLAINTEXT sends credentials without encryption: use SASL_SSL, or "
                "set allow_plaintext_credentials = true"
            )
        if self.has_login:
            yield from self._login_faults()

    def _unused(self, keys: tuple[str, ...], protocol: str) -> Iterator[str]:
        for key in keys:
            if getattr(self, key):
                yield f"{key} needs protocol {protocol}, not {self.protocol}"

    def _login_faults(self) -> Iterator[str]:
        if self.mechanism is None:
            yield f"mechanism is missing, which protocol {self.protocol} needs"
        elif self.mechanism != "OAUTHBEARER":
            if not (self.username and self.password):
                yield f"username and password are needed for mechanism {self.mechanism}"
            if self.oauth:
                yield f"oauth needs mechanism OAUTHBEARER, not {self.mechanism}"
        elif self.username or self.password:
            yield "username and password need mechanism PLAIN or SCRAM, not OAUTHBEARER"
        elif self.oauth is None:
            yield "oauth is missing, which mechanism OAUTHBEARER needs"
        else:
            yield from self.oauth.faults()
            if self.oauth.token_endpoint:
                yield from url_faults(
                    "oauth.token_endpoint",
                    self.oauth.token_endpoint,
                    login="oauth.client_id and oauth.client_secret",
                    may_be_plaintext=self.allow_plaintext_credentials,
                )
