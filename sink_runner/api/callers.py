"""Find the configured client of an API key or a bearer token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..config.api import Api, Client
from .api_keys import hash_key
from .problems import forbidden, unauthorized
from .tokens import Tokens

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_.~+/=-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated client, with the scopes of its request."""

    name: str
    scopes: frozenset[str]
    group: str

    def require(self, scope: str) -> None:
        if scope not in self.scopes:
            raise forbidden(f"the caller has no scope {scope}")


class Callers:
    """The configured clients, by the hash of their key and by the subject of their tokens."""

    def __init__(self, api: Api, tokens: Tokens | None) -> None:
        self._secret = api.secret
        self._tokens = tokens
        self._claim = api.oauth.caller_claim if api.oauth else ""
        # By keyed hash, so that the time of a dictionary look-up reveals nothing about a key.
        self._by_hash = {
            client.key_hash: (name, client)
            for name, client in api.clients.items()
            if client.key_hash
        }
        self._by_subject = {
            client.subject: (name, client) for name, client in api.clients.items() if client.subject
        }

    def by_key(self, key: str) -> Caller:
        found = self._by_hash.get(hash_key(self._secret, key))
        if found is None:
            raise unauthorized("the API key is not known")
        return _make_caller(*found, found[1].scopes)

    def by_token(self, authorization: str) -> Caller:
        """Return the caller; may block while the issuer's keys are fetched."""
        token = _BEARER.fullmatch(authorization)
        if token is None or self._tokens is None:
            raise unauthorized("send X-API-Key, or Authorization: Bearer where tokens are used")
        claims = self._tokens.claims(token[1])
        found = self._by_subject.get(str(claims.get(self._claim, "")))
        if found is None:
            raise forbidden("the token is valid, but its subject is not a client of this service")
        return _make_caller(*found, _read_scopes(claims))


def _read_scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """Return the names in `scope` (RFC 9068) or `scp` (older issuers): a text or a list."""
    found: set[str] = set()
    for claim in (claims.get("scope"), claims.get("scp")):
        names = claim.split() if isinstance(claim, str) else claim
        if isinstance(names, list):
            found.update(name for name in names if isinstance(name, str))
    return frozenset(found)


def _make_caller(name: str, client: Client, scopes: Iterable[str]) -> Caller:
    return Caller(name=name, scopes=frozenset(client.scopes) & set(scopes), group=client.group)
