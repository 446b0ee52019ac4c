"""The ASGI application: routes behind authentication, health endpoints, documentation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from .auth_middleware import PROTECTED, AuthMiddleware
from .graphql import graphql_router
from .operations import callbacks, reads, requests
from .page import page
from .problems import ProblemDetails, add_handlers
from .readiness import Readiness
from .services import Services

_SECURITY = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Made by `sink-runner api-key new`.",
    },
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "OAuth2 access token with the scope in its `scope` claim.",
    },
}


def create_app(services: Services, routers: Iterable[APIRouter] = ()) -> FastAPI:
    """Return the application, which opens its connections at start and closes them at stop.

    `routers` are those of packages that this one does not know.
    """
    readiness = Readiness(services.parts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.open()
        yield
        readiness.close()
        await run_in_threadpool(services.close)

    app = FastAPI(
        title="sink-runner",
        version=version("sink-runner"),
        description=services.routes.description,
        lifespan=lifespan,
        docs_url=None,  # both pages load scripts from another host
        redoc_url=None,
        openapi_url=None,  # FastAPI encodes the document for each request
        redirect_slashes=False,
    )
    add_handlers(app)
    app.add_middleware(
        AuthMiddleware,
        callers=services.callers,
        rates=services.rates,
        byte_rates=services.byte_rates,
        max_body_bytes=services.api.max_body_bytes,
    )
    app.include_router(callbacks(services))
    app.include_router(reads(services))
    app.include_router(requests(services))
    if services.routes.queries:
        app.include_router(graphql_router(services))
    app.openapi = _document_builder(app)  # type: ignore[method-assign]  # as FastAPI documents it
    _add_unprotected(app, readiness)
    for router in routers:
        app.include_router(router)
    return app


def _add_unprotected(app: FastAPI, readiness: Readiness) -> None:
    """Add the health endpoints and the documentation, which need no credentials.

    The documents are encoded once, because anonymous callers may request them without limit.
    """

    @cache
    def document() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False).encode()

    @cache
    def docs_page() -> bytes:
        return page(app.openapi()).encode()

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        parts = await readiness.check()
        states = {name: "ok" if is_up else "down" for name, is_up in parts.items()}
        return JSONResponse(states, 200 if all(parts.values()) else 503)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page())

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")


def _document_builder(app: FastAPI) -> Callable[[], dict[str, Any]]:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {})
            components["securitySchemes"] = _SECURITY
            schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            inner = schema.pop("$defs", {})
            components.setdefault("schemas", {}).update({"ProblemDetails": schema, **inner})
            for path, operations in document["paths"].items():
                if path.startswith(PROTECTED):
                    for operation in operations.values():
                        operation["security"] = [{name: []} for name in _SECURITY]
        assert app.openapi_schema is not None
        return app.openapi_schema

    return openapi
