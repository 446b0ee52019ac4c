"""Build FastAPI's operations from the routes of the plugins."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..model.trace_context import TRACEPARENT
from ..plugin import EventRoute, PathParameter, QueryRoute, ServiceRoute, Table
from .callers import Caller
from .idempotency import KeyedRequest
from .problems import documented
from .responses import Accepted, BulkAccepted, Requested
from .services import Services

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Chosen by the caller, new for each event: a repeated request is answered "
        "as it was at first and published once.",
    ),
]
_WRITE_ERRORS = documented(400, 401, 403, 409, 413, 422, 429, 503)
_READ_ERRORS = documented(401, 403, 404, 422, 429, 503)
_REQUEST_ERRORS = documented(401, 403, 422, 429, 502, 503)
_EXISTS = "There is a result already, at `path`; nothing was sent to the service."


def require_scope(scope: str) -> Callable[[Request], Caller]:
    """Return a FastAPI dependency for the caller, which answers 403 without the scope."""

    def caller(request: Request) -> Caller:
        authenticated: Caller = request.scope["state"]["caller"]
        authenticated.require(scope)
        return authenticated

    return caller


def callbacks(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Callbacks"])
    for route in services.routes.events:
        _add_callback(router, services, route)
    return router


def _add_callback(router: APIRouter, services: Services, route: EventRoute) -> None:
    """Add the single and the bulk form of a route."""
    model, allowed = route.model, Depends(require_scope(route.scope))
    one, name = model.__name__.lower(), f"{model.__name__.lower()}s"
    bulk_model = _bulk_model(model, services.api.max_items)

    def accept(
        items: Sequence[Any], request: Request, caller: Caller, key: str | None, pointer: str
    ) -> list[Accepted]:
        def publish() -> list[Accepted]:
            return services.ingest.accept(
                route,
                items,
                pointer=pointer,
                traceparent=request.headers.get(TRACEPARENT, ""),
            )

        if key is None:
            return publish()
        body = request.scope["state"]["body"]
        topic = Table.parse(route.table).topic
        keyed = KeyedRequest(f"{caller.name} {request.url.path}", topic, key, body)
        return services.idempotency.once(keyed, publish)

    @router.post(
        f"/{route.name}",
        status_code=202,
        responses=_WRITE_ERRORS,
        operation_id=f"post_{one}",
        summary=f"Accept one {one}",
        description=_EVENT_NOTE.format(one=one, scope=route.scope),
    )
    def single(
        request: Request,
        item: model,  # type: ignore[valid-type]  # from a plugin
        caller: Caller = allowed,
        key: IdempotencyKey = None,
    ) -> Accepted:
        (accepted,) = accept([item], request, caller, key, "/body")
        return accepted

    @router.post(
        f"/{route.name}/bulk",
        status_code=202,
        responses=_WRITE_ERRORS,
        operation_id=f"post_{name}",
        summary=f"Accept many {name}",
        description=_EVENT_NOTE.format(one=one, scope=route.scope) + _BULK_NOTE.format(name=name),
    )
    def bulk(
        request: Request,
        items: bulk_model,  # type: ignore[valid-type]  # created above
        caller: Caller = allowed,
        key: IdempotencyKey = None,
    ) -> BulkAccepted:
        found: Sequence[Any] = items.items  # type: ignore[attr-defined]
        return BulkAccepted(accepted=accept(found, request, caller, key, "/body/items/{}"))


def _bulk_model(model: type[BaseModel], max_items: int) -> type[BaseModel]:
    extra: Any = model.model_config.get("json_schema_extra") or {}
    examples: Any = {"examples": [{"items": extra["examples"]}]} if "examples" in extra else None
    return create_model(
        f"{model.__name__}s",
        __config__=ConfigDict(extra="forbid", json_schema_extra=examples),
        items=(list[model], Field(min_length=1, max_length=max_items)),  # type: ignore[valid-type]
    )


def reads(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Reads"])
    for route in services.routes.queries:
        router.get(
            route.path,
            responses=_READ_ERRORS,
            operation_id=f"get_{route.name}",
            summary=route.summary,
            description=f"{route.description} Scope `{route.scope}`.".strip(),
        )(_make_handler(services, route))
    return router


def _make_handler(services: Services, route: QueryRoute) -> Callable[..., Any]:
    def read(caller: Caller, **parameters: Any) -> Any:
        return services.read(route, parameters, caller.group)

    read.__signature__ = _signature(route, route.model)  # type: ignore[attr-defined]
    return read


def requests(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Requests"])
    for route in services.requests:
        router.post(
            route.path,
            status_code=202,
            responses={200: {"model": Requested, "description": _EXISTS}, **_REQUEST_ERRORS},
            operation_id=f"post_{route.name}",
            summary=route.summary,
            description=f"{route.description} Scope `{route.scope}`.".strip(),
        )(_make_request_handler(services, route))
    return router


def _make_request_handler(services: Services, route: ServiceRoute) -> Callable[..., Any]:
    def ask(caller: Caller, response: Response, **parameters: Any) -> Requested:
        found = services.ask(route, parameters, caller.group)
        if found.status == "exists":
            response.status_code = HTTPStatus.OK
        return found

    ask.__signature__ = _signature(  # type: ignore[attr-defined]
        route, Requested, Parameter("response", Parameter.KEYWORD_ONLY, annotation=Response)
    )
    return ask


def _signature(route: QueryRoute | ServiceRoute, answer: Any, *others: Parameter) -> Signature:
    """Return the signature from which FastAPI reads the parameters of a route."""
    allowed = Annotated[Caller, Depends(require_scope(route.scope))]
    parameters = [
        Parameter(one.name, Parameter.KEYWORD_ONLY, annotation=_path_annotation(one))
        for one in route.parameters
    ]
    caller = Parameter("caller", Parameter.KEYWORD_ONLY, annotation=allowed)
    return Signature([*parameters, caller, *others], return_annotation=answer)


def _path_annotation(parameter: PathParameter) -> Any:
    examples = None if parameter.example is None else [parameter.example]
    return Annotated[parameter.type, Path(description=parameter.description, examples=examples)]


_EVENT_NOTE = """\
The answer comes when the {one} is durable: confirmed by every replica of Kafka, in the topic of
the table that it belongs to. From there it goes the way of any change of that table.
Scope `{scope}`."""
_BULK_NOTE = """

One item that is wrong refuses all of them. If Kafka fails in the midst of it, the answer is 503
and `published` names the {name} that are durable all the same; sending all again is safe."""
