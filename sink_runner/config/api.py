"""The settings of ``[api]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from .reader import Count, Duration, Minimum, Secret, WholeNumber, section
from .tls import Tls, url_faults

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"}
)
"""Asymmetric signatures only: a key that verifies tokens must not be able to sign them."""

TOKEN_TYPES = frozenset({"at+jwt", "JWT"})

AtLeastOne = Annotated[float, Minimum(1)]


@section
class Client:
    """One caller, identified by an API key, by the tokens of an issuer, or by either."""

    key_hash: str = field(default="", repr=False)
    """Keyed hash of the API key; `sink-runner api-key new` prints it."""
    subject: str = ""
    """The client's name in the tokens of [api.oauth]; empty: no token is accepted for it."""
    scopes: tuple[str, ...] = ()
    """What the client may do; a token narrows this and never widens it."""
    group: str = ""
    """Group of the masking policies for which the client's reads are masked."""


@section
class Service(Tls):
    """A service that callers may ask for a result, such as a forecast."""

    url: str
    """Where a request is sent, by POST with JSON."""
    token: Secret | None = None
    """Bearer token for the service; read again for each request."""
    allow_plaintext_credentials: bool = False
    """Permit a token with http://, which sends it without encryption."""
    seconds: Annotated[float, Minimum(0.1)] = 5.0
    """How long the service may take to answer."""
    repeat_seconds: Duration = 300.0
    """How long the same request is not sent again, because its result may be on its way."""

    @property
    def is_encrypted(self) -> bool:
        return self.url.lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        yield from url_faults(
            "url",
            self.url,
            login="token",
            may_be_plaintext=not self.token or self.allow_plaintext_credentials,
        )
        yield from self._unused_tls_keys("a url")


@section
class TokenIssuer:
    """The issuer whose tokens are accepted."""

    issuer: str
    """`iss` of a token, compared exactly."""
    audience: str
    """A value that `aud` of a token must contain."""
    jwks_url: str = ""
    """URL of the issuer's public keys, with https."""
    allow_plaintext_jwks: bool = False
    """Permit http:// in jwks_url if the host is a loopback address."""
    jwks_file: Path | None = None
    """File with the issuer's public keys, in place of jwks_url; read again when it changes."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    """Accepted signature algorithms."""
    token_types: tuple[str, ...] = ("at+jwt",)
    """`typ` of a token's header; add JWT for an issuer older than RFC 9068."""
    max_token_seconds: AtLeastOne = 86_400.0
    """A token that expires later than this from now is refused."""
    caller_claim: str = "sub"
    """The claim that contains a client's `subject`."""
    refresh_seconds: AtLeastOne = 300.0
    """How long fetched keys are used before they are fetched again."""
    leeway_seconds: WholeNumber = 30
    """Tolerated difference between the clocks of issuer and service."""

    def __post_init__(self) -> None:
        if bool(self.jwks_url) == (self.jwks_file is not None):
            raise ValueError("one of jwks_url and jwks_file is needed")
        if not self.algorithms or set(self.algorithms) - ALGORITHMS:
            raise ValueError(f"algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        if not self.token_types or set(self.token_types) - TOKEN_TYPES:
            raise ValueError(f"token_types are some of {', '.join(sorted(TOKEN_TYPES))}")
        if self.jwks_url and not self._has_safe_url():
            raise ValueError(
                "jwks_url must begin with https://: who can change the keys on their way can sign "
                "any token; with allow_plaintext_jwks = true http://127.0.0.1 is accepted as well"
            )

    def _has_safe_url(self) -> bool:
        url = urlsplit(self.jwks_url)
        is_loopback = url.hostname in {"localhost", "127.0.0.1", "::1"}
        return bool(url.hostname) and (
            url.scheme == "https"
            or (url.scheme == "http" and is_loopback and self.allow_plaintext_jwks)
        )


@section
class Api:
    """Address, clients and limits of `sink-runner api`."""

    host: str = "127.0.0.1"
    """Address to listen on; TLS is the task of a proxy in front of it."""
    port: Count = 28093
    """Port to listen on."""
    database: str
    """The database that is read, and that stores the answers for each Idempotency-Key."""
    secret: str = field(default="", repr=False)
    """Key of all hashes that are stored: 32 characters or more."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Captured tables in place of those that plugins declare: database.schema.table by route."""
    clients: Mapping[str, Client] = field(default_factory=dict)
    """One table for each caller."""
    oauth: TokenIssuer | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    """Services that routes of plugins pass requests to, one table for each."""
    max_body_bytes: Count = 1_000_000
    """A longer request is refused."""
    max_items: Count = 500
    """Events in one bulk request."""
    max_record_bytes: Count = 900_000
    """A longer event is refused; Kafka itself accepts about 1 MB."""
    max_ahead_seconds: Duration = 300.0
    """How far in the future a time of a callback may be."""
    requests_per_second: Annotated[float, Minimum(0.01)] = 100.0
    """Requests that each caller may send in the long run."""
    burst: Count = 200
    """Requests that each caller may send at once, after a pause."""
    bytes_per_second: AtLeastOne = 5_000_000.0
    """Bytes of bodies that each caller may send in the long run."""
    request_seconds: Annotated[float, Minimum(0.1)] = 15.0
    """How long a request may take to arrive, headers and body."""
    max_connections: Count = 1000
    """Open connections; further ones are closed at once."""
    remember_hours: Duration = 24.0
    """How long a repeated Idempotency-Key gets the first answer."""
    delivery_seconds: AtLeastOne = 5.0
    """How long Kafka may take to confirm."""
    schema_seconds: Duration = 60.0
    """How long the registry's answers are used before it is queried again."""
    query_seconds: Annotated[float, Minimum(0.1)] = 2.0
    """How long a read may take."""
    sessions: Count = 8
    """The most database sessions for reads."""
    max_query_reads: Count = 10
    """Query routes in one GraphQL request; each counts as a request of the caller."""
    max_query_fields: Count = 500
    """Fields of one GraphQL request, those of its fragments wherever they are used."""
    max_query_depth: Count = 8
    """Levels of fields in one GraphQL request."""
    max_query_tokens: Count = 1000
    """Length of one GraphQL request in tokens: names, values and punctuation."""
