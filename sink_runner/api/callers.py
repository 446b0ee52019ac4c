"""Who calls: an API key or a bearer token, found among the configured clients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..config.api import Api, Client
from .keys import hash_key
from .problems import forbidden, unauthorized
from .tokens import Tokens

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_.~+/=-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who was let in, and what for."""

    name: str
    scopes: frozenset[str]
    group: str

    def need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise forbidden(f"the caller has no scope {scope}")


class Callers:
    """The configured clients by what they show."""

    def __init__(self, api: Api, tokens: Tokens | None) -> None:
        self._secret = api.secret
        self._tokens = tokens
        self._claim = api.oauth.caller_claim if api.oauth else ""
        # Found by its keyed hash: how long a look-up takes says nothing about the key.
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
        return _caller(*found, found[1].scopes)

    def by_token(self, authorization: str) -> Caller:
        """May ask the issuer for its keys, so it may block."""
        token = _BEARER.fullmatch(authorization)
        if token is None or self._tokens is None:
            raise unauthorized("send X-API-Key, or Authorization: Bearer where tokens are used")
        claims = self._tokens.claims(token[1])
        found = self._by_subject.get(str(claims.get(self._claim, "")))
        if found is None:
            raise forbidden("the token is valid, but its subject is no client of this service")
        return _caller(*found, _scopes(claims))


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """`scope` of RFC 9068 or `scp` of older issuers: names between blanks, or a list of them."""
    found: set[str] = set()
    for told in (claims.get("scope"), claims.get("scp")):
        names = told.split() if isinstance(told, str) else told
        if isinstance(names, list):
            found.update(name for name in names if isinstance(name, str))
    return frozenset(found)


def _caller(name: str, client: Client, scopes: Iterable[str]) -> Caller:
    return Caller(name=name, scopes=frozenset(client.scopes) & set(scopes), group=client.group)
