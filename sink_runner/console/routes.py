"""The routes under /v1/ that only the console needs."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from ..api.callers import Caller
from ..api.operations import require_scope
from ..api.problems import ProblemError, documented, not_found
from ..error_text import describe
from ..errors import SinkError
from ..loading.discovery import Plugin
from . import models
from .details import Details

SCOPE = "observe"
M = TypeVar("M", bound=BaseModel)
_Name = Annotated[str, Path(description="The mapping, as `sink-runner plugins` names it.")]
_Observer = Annotated[Caller, Depends(require_scope(SCOPE))]
_ERRORS = documented(401, 403, 404, 429, 503)


def routes(details: Details) -> APIRouter:
    """Return the routes; each needs the scope `observe`."""
    router = APIRouter(prefix="/v1", tags=["Console"])

    @router.get("/progress", responses=_ERRORS, summary="How far each mapping has come")
    def get_progress(_: _Observer) -> models.Progress:
        return details.progress()

    parts: list[tuple[str, str, type[BaseModel], Callable[..., Any]]] = [
        ("chain", "The steps of a mapping", models.Chain, details.chain),
        ("columns", "The lineage of its columns", models.Columns, details.columns),
        ("dead-letters", "Its dead letters", models.DeadLetterCounts, details.dead_letters),
        ("conflicts", "Conflicts in its target", models.Conflicts, details.conflicts),
        ("reconciliation", "Its comparisons", models.Reconciliation, details.reconciliation),
    ]
    for path, summary, model, read in parts:
        router.get(
            f"/mappings/{{name}}/{path}",
            response_model=model,
            responses=_ERRORS,
            operation_id=f"get_mapping_{path.replace('-', '_')}",
            summary=summary,
        )(_handler(details, read))
    return router


def _handler(details: Details, read: Callable[[Plugin], M]) -> Callable[..., M]:
    def handle(name: _Name, _: _Observer) -> M:
        plugin = details.find(name)
        if plugin is None:
            raise not_found("there is no mapping of this name")
        try:
            return read(plugin)
        except SinkError as fault:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", describe(fault)
            ) from None

    return handle
