"""GraphQL: query routes as queries and service routes as mutations, several in one request.

A field needs the scope of its route and is masked like it.  Messages of errors never quote the
request, as in the problem details of the other routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSyntaxError,
    execute_sync,
    get_operation_ast,
    parse,
    print_schema,
    specified_rules,
    validate,
)
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..plugin import PathParameter, QueryRoute, ServiceRoute
from .callers import Caller
from .graphql_cost import measure
from .graphql_types import TypeBuilder
from .problems import ProblemError, problem_type
from .responses import Requested
from .services import Services

_MEDIA_TYPE = "application/graphql-response+json"


class Query(BaseModel):
    """A GraphQL request, as GraphQL over HTTP defines it."""

    model_config = ConfigDict(extra="forbid")

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = Field(default=None, alias="operationName")
    extensions: dict[str, Any] | None = None


class RequestError(Exception):
    """A document that is not executed, with the errors to answer."""

    def __init__(self, *errors: dict[str, Any]) -> None:
        super().__init__()
        self.errors = list(errors)


def graphql_router(services: Services) -> APIRouter:
    """Return the route that executes documents, and the schema, which needs no credentials.

    Neither is in the OpenAPI document: the schema describes them.
    """
    executor = Executor(services)
    text = print_schema(executor.schema)
    router = APIRouter(include_in_schema=False)

    @router.post("/v1/graphql")
    def run(request: Request, query: Query) -> Response:
        caller: Caller = request.scope["state"]["caller"]
        try:
            body, status = executor.execute(query, caller), HTTPStatus.OK
        except RequestError as fault:
            body, status = {"errors": fault.errors}, HTTPStatus.BAD_REQUEST
        return JSONResponse(body, status, media_type=_MEDIA_TYPE)

    @router.get("/schema.graphql")
    async def schema() -> Response:
        return PlainTextResponse(text)

    return router


def build_schema(services: Services) -> GraphQLSchema:
    """Return the schema with a field for each route; there must be a query route."""
    types = TypeBuilder()
    fields = {
        _field_name(route): _field(services, route, types) for route in services.routes.queries
    }
    requests = {_field_name(route): _field(services, route, types) for route in services.requests}
    return GraphQLSchema(
        GraphQLObjectType("Query", fields),
        GraphQLObjectType("Mutation", requests) if requests else None,
    )


def _field_name(route: QueryRoute | ServiceRoute) -> str:
    return re.sub(r"\W", "_", route.name)


class Executor:
    """Executes the documents of callers within the limits of ``[api]``."""

    def __init__(self, services: Services) -> None:
        self.schema = build_schema(services)
        self._services = services

    def execute(self, request: Query, caller: Caller) -> dict[str, Any]:
        """Return `data` and the errors of single fields.

        Raises RequestError for a document that is wrong or too expensive, ProblemError if the
        caller's rate limit is exceeded.
        """
        document = self._parse(request.query)
        self._check_cost(document, request.operation_name, caller)
        found = execute_sync(
            self.schema,
            document,
            context_value=caller,
            variable_values=request.variables,
            operation_name=request.operation_name,
            hide_suggestions=True,
        )
        return _response(found)

    def _parse(self, text: str) -> DocumentNode:
        limit = self._services.api.max_query_tokens
        try:
            document = parse(text, max_tokens=limit)
        except GraphQLSyntaxError as error:
            detail = f"the query is not GraphQL, is too deep or has more than {limit} tokens"
            raise RequestError(_describe(detail, error)) from None
        for rule in specified_rules:  # one after the other, since an error does not name its rule
            if errors := validate(self.schema, document, [rule], hide_suggestions=True):
                detail = f"the query breaks the rule {rule.__name__.removesuffix('Rule')}"
                raise RequestError(*(_describe(detail, error) for error in errors))
        return document

    def _check_cost(self, document: DocumentNode, name: str | None, caller: Caller) -> None:
        operation = get_operation_ast(document, name)
        if operation is None:
            raise RequestError({"message": "operationName must name one operation of the query"})
        cost, api = measure(document, operation), self._services.api
        for unit, amount, limit in (
            ("reads", cost.reads, api.max_query_reads),
            ("fields", cost.fields, api.max_query_fields),
            ("levels", cost.depth, api.max_query_depth),
        ):
            if amount > limit:
                raise RequestError({"message": f"the query has more than {limit} {unit}"})
        if cost.reads > 1:  # the middleware has counted one
            self._services.rates.take(caller.name, cost.reads - 1)


def _field(
    services: Services, route: QueryRoute | ServiceRoute, types: TypeBuilder
) -> GraphQLField:
    return GraphQLField(
        types.output(route.model if isinstance(route, QueryRoute) else Requested),
        {one.name: _argument(one, types) for one in route.parameters},
        _resolver(services, route),
        description=f"{route.summary}. {route.description} Scope `{route.scope}`.",
    )


def _argument(parameter: PathParameter, types: TypeBuilder) -> GraphQLArgument:
    kind = GraphQLNonNull(types.scalar(parameter.type))
    return GraphQLArgument(kind, description=parameter.description)


def _resolver(services: Services, route: QueryRoute | ServiceRoute) -> Callable[..., Any]:
    adapters = {one.name: TypeAdapter(one.type) for one in route.parameters}

    def resolve(_root: None, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        caller: Caller = info.context
        caller.require(route.scope)
        parameters = _validated(adapters, arguments)
        if isinstance(route, QueryRoute):
            answer = services.read(route, parameters, caller.group)
        else:
            answer = services.ask(route, parameters, caller.group)
        return answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer

    return resolve


def _validated(
    adapters: Mapping[str, TypeAdapter[Any]], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    found = {}
    for name, value in arguments.items():
        try:
            found[name] = adapters[name].validate_python(value)
        except ValidationError:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            raise ProblemError(status, "invalid", f"the argument {name} is not valid") from None
    return found


def _response(found: ExecutionResult) -> dict[str, Any]:
    if found.data is None and found.errors and found.errors[0].path is None:
        detail = "a variable is missing or has a value of another type"
        raise RequestError(*(_describe(detail, error) for error in found.errors))
    response: dict[str, Any] = {"data": found.data}
    if found.errors:
        response["errors"] = [*_describe_all(found.errors)]
    return response


def _describe_all(errors: Sequence[GraphQLError]) -> Iterator[dict[str, Any]]:
    for error in errors:
        problem = error.original_error
        if not isinstance(problem, ProblemError):
            raise problem or error  # answered by 500, and logged, like those of other routes
        kind = {"type": problem_type(problem.kind), "status": int(problem.status)}
        yield {**_describe(problem.detail, error), "path": error.path, "extensions": kind}


def _describe(message: str, error: GraphQLError) -> dict[str, Any]:
    locations = [{"line": one.line, "column": one.column} for one in error.locations or ()]
    return {"message": message, "locations": locations} if locations else {"message": message}
