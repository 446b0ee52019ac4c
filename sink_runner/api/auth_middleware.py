"""What every call under /v1/ passes before its body is looked at: credentials, rate and size."""

from __future__ import annotations

from http import HTTPStatus

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .callers import Caller, Callers
from .limits import RateLimit
from .problems import ProblemError, too_large, unauthorized

PROTECTED = "/v1/"
_TOKEN_THREADS = 4
"""Of their own: tokens of strangers make threads wait for the issuer, and callbacks must not."""


class AuthMiddleware:
    """ASGI middleware; a framework would parse the body of a stranger first."""

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
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PROTECTED):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(Headers(scope=scope))
            self._rates.take(caller.name)
            body = await self._body(caller, Headers(scope=scope), receive)
        except ProblemError as problem:
            await problem.response()(scope, receive, send)
            return
        scope.setdefault("state", {}).update(caller=caller, body=body)
        await self._app(scope, _replayed(body, receive), _private(send))

    async def _caller(self, headers: Headers) -> Caller:
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

    async def _body(self, caller: Caller, headers: Headers, receive: Receive) -> bytes:
        """The body, whole: refused by its announced length, and by what really comes."""
        announced = headers.get("content-length", "")
        counted = self._counted(caller, 0, int(announced)) if announced.isdecimal() else 0
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ProblemError(HTTPStatus.BAD_REQUEST, "bad-request", "the body is not whole")
            part = message.get("body", b"")
            size += len(part)
            counted = self._counted(caller, counted, size)
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)

    def _counted(self, caller: Caller, counted: int, size: int) -> int:
        """Count a body's bytes beyond those that are counted, and return how many are now."""
        if size > self._max:
            raise too_large(f"a request has at most {self._max} bytes")
        if size > counted:
            self._byte_rates.take(caller.name, size - counted)
        return max(size, counted)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


def _private(send: Send) -> Send:
    """What is answered here is nobody else's: no cache keeps it."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cache-Control"] = "no-store"
        await send(message)

    return told
