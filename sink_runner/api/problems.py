"""Errors as problem details (RFC 9457).  They never quote a value of the request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
# Types of pydantic errors whose messages quote no value.
_WITHOUT_VALUES = frozenset(
    {
        *("missing", "extra_forbidden", "literal_error", "string_pattern_mismatch"),
        *("string_type", "string_too_short", "string_too_long", "int_type", "float_type"),
        *("greater_than_equal", "less_than_equal", "too_long", "too_short", "list_type"),
        *("dict_type", "model_attributes_type", "value_error", "finite_number", "model_type"),
    }
)


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"pointer": "/body/quantity", "detail": "Field required"}}
    )

    pointer: str = Field(description="Where it is wrong; `*` stands for a name that is unknown.")
    detail: str = Field(description="What is wrong. What was sent is never repeated.")


class ProblemDetails(BaseModel):
    """An error, in the form of RFC 9457."""

    type: str = Field(description="What kind of error it is; the same for the same kind.")
    title: str
    status: int
    detail: str = Field(description="What to do about it.")
    errors: list[Fault] | None = Field(
        default=None, description=f"What is wrong, the first {MAX_ERRORS} faults."
    )
    published: list[int] | None = Field(
        default=None, description="Positions in a bulk request that were published all the same."
    )


class ProblemError(Exception):
    """An error that is sent to the caller."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        body = {
            "type": problem_type(self.kind),
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            **self.more,
        }
        return Response(
            json.dumps(body), int(self.status), headers=self.headers, media_type=MEDIA_TYPE
        )


def problem_type(kind: str) -> str:
    """Return the URN of a kind of problem."""
    return f"urn:sink-runner:problem:{kind}"


def unavailable(what: str, *, seconds: float = 5, **more: Any) -> ProblemError:
    """Return a 503 for a dependency that does not answer."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        f"{what} does not answer; send the same request again later",
        headers={"Retry-After": str(max(1, round(seconds)))},
        **more,
    )


def unauthorized(detail: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        detail,
        headers={"WWW-Authenticate": 'Bearer realm="sink-runner"'},
    )


def forbidden(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.FORBIDDEN, "forbidden", detail)


def too_large(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)


def invalid(faults: Iterable[Mapping[str, str]]) -> ProblemError:
    """Return a 422 with the first `MAX_ERRORS` faults of a request."""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid",
        "correct what `errors` names",
        errors=list(islice(faults, MAX_ERRORS)),
    )


def not_found(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "not-found", detail)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an operation for its OpenAPI document."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


_DESCRIPTIONS = {
    400: "The body is not JSON.",
    401: "No credentials, or none that are known and valid.",
    403: "The caller may not do this, or a masking policy is missing for its group.",
    404: "Nothing is known under this id.",
    409: "The first request with this Idempotency-Key is not answered yet.",
    413: "The request, or one event of it, is too large.",
    422: "Something is wrong with the request, or the Idempotency-Key came with another body.",
    429: "Too many requests; Retry-After says when to go on.",
    502: "The service that the request was passed to refuses it.",
    503: "Something that the request needs does not answer: sending the same again is safe.",
}


def add_handlers(app: FastAPI) -> None:
    """Answer every exception in `app` with problem details."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _problem(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, ProblemError)
    return fault.response()


def _invalid(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)
    return invalid(_fault(error) for error in fault.errors()).response()


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    kind = error["type"]
    detail = error["msg"] if kind in _WITHOUT_VALUES else "is not valid"
    if kind == "json_invalid":
        return {"pointer": "/body", "detail": "is not JSON"}
    return {"pointer": _pointer(error["loc"], unknown=kind == "extra_forbidden"), "detail": detail}


def _pointer(location: Sequence[str | int], *, unknown: bool) -> str:
    """Return a JSON pointer.  `*` replaces an unknown name, because the caller chose its text."""
    parts = [*location[:-1], "*"] if unknown else [*location]
    return "".join(f"/{part}" for part in parts)


def _http(_request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    status = HTTPStatus(fault.status_code)
    kind = status.phrase.lower().replace(" ", "-")
    return ProblemError(status, kind, status.description, headers=fault.headers).response()


def _unexpected(_request: Request, _fault: Exception) -> Response:
    """Answer 500; Starlette then raises the exception again, and the server logs its traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return ProblemError(
        status, "internal", "the service failed and has logged the reason"
    ).response()
