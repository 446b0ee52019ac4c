"""What every call under /v1/ passes before its body is looked at: credentials, rate and size."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .callers import Caller, Callers
from .limits import RateLimit
from .problems import ProblemError, too_large, unauthorized

PROTECTED = "/v1/"


class Gate:
    """ASGI middleware; a framework would parse the body of a stranger first."""

    def __init__(
        self, app: ASGIApp, *, callers: Callers, rates: RateLimit, max_body_bytes: int
    ) -> None:
        self._app = app
        self._callers = callers
        self._rates = rates
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PROTECTED):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(Headers(scope=scope))
            self._rates.take(caller.name)
            body = await self._body(Headers(scope=scope), receive)
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
                return await run_in_threadpool(self._callers.by_token, authorization)
            case [], []:
                raise unauthorized("send X-API-Key or Authorization: Bearer")
            case _:
                raise unauthorized("send one credential, once")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The body, whole: refused by its announced length, and by what really comes."""
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max:
            raise too_large(f"a request has at most {self._max} bytes")
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._max:
                raise too_large(f"a request has at most {self._max} bytes")
            parts.append(part)
            more = message["type"] == "http.request" and message.get("more_body", False)
        return b"".join(parts)


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
