"""The settings of ``[api]``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..plugin import Table
from .values import doc

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"}
)
"""Signatures by a private key alone: who can verify a token must not be able to make one."""

TOKEN_TYPES = frozenset({"at+jwt", "JWT"})


class Scope(enum.StrEnum):
    """What a caller may do."""

    FORECASTS_WRITE = "forecasts:write"
    ALERTS_WRITE = "alerts:write"
    ELIGIBILITY_READ = "eligibility:read"
    FORECASTS_READ = "forecasts:read"
    PROFILES_READ = "profiles:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One caller: known by an API key, by the tokens of an issuer, or by both."""

    key_hash: str = field(
        default="",
        repr=False,
        metadata=doc("Keyed hash of the API key; `sink-runner api-key new` prints it."),
    )
    subject: str = field(
        default="", metadata=doc("Its name in the tokens of [api.oauth]; empty: no token is it.")
    )
    scopes: tuple[Scope, ...] = field(
        default=(), metadata=doc("What it may do; a token narrows this and never widens it.")
    )
    group: str = field(
        default="",
        metadata=doc("Group of the masking policies that what it reads is masked for."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Whose tokens are believed."""

    issuer: str = field(metadata=doc("`iss` of a token, to the letter."))
    audience: str = field(metadata=doc("`aud` of a token holds this."))
    jwks_url: str = field(
        default="", metadata=doc("Where the issuer's public keys are fetched, by https.")
    )
    allow_plaintext_jwks: bool = field(
        default=False, metadata=doc("Fetch them by http from an address of the loopback.")
    )
    jwks_file: Path | None = field(
        default=None, metadata=doc("Or the file with them; it is read again when it changes.")
    )
    algorithms: tuple[str, ...] = field(
        default=("RS256", "ES256"), metadata=doc("Signatures that are accepted, and no others.")
    )
    token_types: tuple[str, ...] = field(
        default=("at+jwt",),
        metadata=doc("`typ` of a token's header; add JWT for an issuer older than RFC 9068."),
    )
    max_token_seconds: float = field(
        default=86_400.0,
        metadata=doc("A token that expires later than this from now is refused.", minimum=1),
    )
    caller_claim: str = field(
        default="sub", metadata=doc("The claim that holds a client's `subject`.")
    )
    refresh_seconds: float = field(
        default=300.0, metadata=doc("How long fetched keys are used unasked.", minimum=1)
    )
    leeway_seconds: int = field(
        default=30, metadata=doc("How far the clocks may be apart.", minimum=0)
    )

    def __post_init__(self) -> None:
        if bool(self.jwks_url) == (self.jwks_file is not None):
            raise ValueError("one of jwks_url and jwks_file is needed")
        if not self.algorithms or set(self.algorithms) - ALGORITHMS:
            raise ValueError(f"algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        if not self.token_types or set(self.token_types) - TOKEN_TYPES:
            raise ValueError(f"token_types are some of {', '.join(sorted(TOKEN_TYPES))}")
        if self.jwks_url and not self._is_fetched_safely():
            raise ValueError(
                "jwks_url must begin with https://: who can change the keys on their way can sign "
                "any token; with allow_plaintext_jwks = true http://127.0.0.1 is accepted as well"
            )

    def _is_fetched_safely(self) -> bool:
        url = urlsplit(self.jwks_url)
        is_loopback = url.hostname in {"localhost", "127.0.0.1", "::1"}
        return bool(url.hostname) and (
            url.scheme == "https"
            or (url.scheme == "http" and is_loopback and self.allow_plaintext_jwks)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The captured tables whose topics the callbacks write to: database.schema.table."""

    forecasts: str = field(metadata=doc("Where forecasts go."))
    alerts: str = field(metadata=doc("Where alerts go."))

    def __post_init__(self) -> None:
        Table.parse(self.forecasts)
        Table.parse(self.alerts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """How `sink-runner api` serves, and whom."""

    host: str = field(
        default="127.0.0.1", metadata=doc("Address to listen on; TLS is for a proxy before it.")
    )
    port: int = field(default=28093, metadata=doc("Port to listen on.", minimum=1))
    database: str = field(
        metadata=doc("The database that is read, and where answers are remembered.")
    )
    secret: str = field(
        default="",
        repr=False,
        metadata=doc("Key of all hashes that are stored: 32 characters or more."),
    )
    tables: Tables
    clients: Mapping[str, Client] = field(
        default_factory=dict, metadata=doc("One table for each caller.")
    )
    oauth: OAuth | None = field(default=None, metadata=doc("Whose tokens are believed."))
    max_body_bytes: int = field(
        default=1_000_000, metadata=doc("A longer request is refused.", minimum=1)
    )
    max_items: int = field(
        default=500, metadata=doc("Forecasts or alerts in one bulk request.", minimum=1)
    )
    max_record_bytes: int = field(
        default=900_000,
        metadata=doc("A longer event is refused; Kafka itself takes about 1 MB.", minimum=1),
    )
    max_ahead_seconds: float = field(
        default=300.0,
        metadata=doc("How far in the future a time of a callback may be.", minimum=0),
    )
    requests_per_second: float = field(
        default=100.0, metadata=doc("How many each caller may send in the long run.", minimum=0.01)
    )
    burst: int = field(
        default=200, metadata=doc("How many at once, after a time of quiet.", minimum=1)
    )
    bytes_per_second: float = field(
        default=5_000_000.0,
        metadata=doc("How many bytes of bodies each caller may send in the long run.", minimum=1),
    )
    request_seconds: float = field(
        default=15.0,
        metadata=doc("How long a request may take to arrive, headers and body.", minimum=0.1),
    )
    max_connections: int = field(
        default=1000, metadata=doc("Open connections; one more is closed at once.", minimum=1)
    )
    remember_hours: float = field(
        default=24.0, metadata=doc("How long an Idempotency-Key gives its first answer.", minimum=0)
    )
    delivery_seconds: float = field(
        default=5.0, metadata=doc("How long Kafka may take to confirm.", minimum=1)
    )
    schema_seconds: float = field(
        default=60.0, metadata=doc("How long the registry's answers are used unasked.", minimum=0)
    )
    query_seconds: float = field(
        default=2.0, metadata=doc("How long a read may take.", minimum=0.1)
    )
    sessions: int = field(
        default=8, metadata=doc("Database sessions at most, for reads.", minimum=1)
    )
