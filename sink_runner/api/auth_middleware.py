"""Check credentials, rate and size of each request under /v1/ before its body is parsed."""

from __future__ import annotations

from http import HTTPStatus

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .callers import Caller, Callers
from .problems import ProblemError, too_large, unauthorized
from .rate_limits import RateLimit

PROTECTED = "/v1/"
_TOKEN_THREADS = 4
"""Threads that verify tokens, separate from those of the routes because they may wait for the
issuer."""


class AuthMiddleware:
    """Authenticates and limits callers, in middleware because FastAPI parses the body first."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        callers: Callers,
        rates: RateLimit,
        byte_rates: RateLimit,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._callers = callers
        self._rates = rates
        self._byte_rates = byte_rates
        self._token_threads = CapacityLimiter(_TOKEN_THREADS)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PROTECTED):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._authenticate(Headers(scope=scope))
            self._rates.take(caller.name)
            body = await self._read_body(caller, Headers(scope=scope), receive)
        except ProblemError as problem:
            await problem.response()(scope, receive, send)
            return
        scope.setdefault("state", {}).update(caller=caller, body=body)
        await self._app(scope, _replay(body, receive), _without_caching(send))

    async def _authenticate(self, headers: Headers) -> Caller:
        match headers.getlist("authorization"), headers.getlist("x-api-key"):
            case [], [key]:
                return self._callers.by_key(key)
            case [authorization], []:
                by_token = self._callers.by_token
                return await run_sync(by_token, authorization, limiter=self._token_threads)
            case [], []:
                raise unauthorized("send X-API-Key or Authorization: Bearer")
            case _:
                raise unauthorized("send one credential, once")

    async def _read_body(self, caller: Caller, headers: Headers, receive: Receive) -> bytes:
        """Read the body; check its size by Content-Length first, then by the bytes received."""
        length = headers.get("content-length", "")
        charged = self._charge(caller, 0, int(length)) if length.isdecimal() else 0
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", "the body is incomplete")
            part = message.get("body", b"")
            size += len(part)
            charged = self._charge(caller, charged, size)
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _charge(self, caller: Caller, charged: int, size: int) -> int:
        """Take the bytes beyond `charged` from the caller's rate limit; return the new total."""
        if size > self._max_body_bytes:
            raise too_large(f"a request has at most {self._max_body_bytes} bytes")
        if size > charged:
            self._byte_rates.take(caller.name, size - charged)
        return max(size, charged)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns the body, which has been read already."""
    bodies = [body]

    async def replay() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return replay


def _without_caching(send: Send) -> Send:
    """Return a `send` that adds Cache-Control: no-store, because responses depend on the caller."""

    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cache-Control"] = "no-store"
        await send(message)

    return send_uncached
