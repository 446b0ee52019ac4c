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
from ..api.routes import OBSERVE, OPERATE
from ..control.routes import ActionResult, problems
from ..error_text import describe
from ..errors import SinkError
from ..loading.discovery import Plugin
from . import models
from .details import Details
from .reconciliation import ReconcileAction, Reconciler

M = TypeVar("M", bound=BaseModel)
_Name = Annotated[str, Path(description="The mapping, as `sink-runner plugins` names it.")]
_Observer = Annotated[Caller, Depends(require_scope(OBSERVE))]
_Operator = Annotated[Caller, Depends(require_scope(OPERATE))]
_ERRORS = documented(401, 403, 404, 422, 429, 503)


def routes(details: Details, reconciler: Reconciler) -> APIRouter:
    """Return the routes; reading needs the scope `observe`, a reconciliation `operate`."""
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

    @router.post(
        "/mappings/{name}/explain",
        responses=_ERRORS | documented(409),
        operation_id="explain_event",
        summary="Why a row is in the target or not",
    )
    def explain(name: _Name, choice: models.EventChoice, caller: _Observer) -> models.Explanation:
        def read(plugin: Plugin) -> models.Explanation:
            with problems():
                return details.explain(plugin, choice, caller.name)

        return _read(details, name, read)

    @router.post(
        "/mappings/{name}/reconcile",
        responses=_ERRORS | documented(409),
        operation_id="reconcile_mapping",
        summary="Compare source and target, and repair",
    )
    def reconcile(name: _Name, action: ReconcileAction, caller: _Operator) -> ActionResult:
        def act(plugin: Plugin) -> ActionResult:
            if action.repair and details.pause(plugin) is not None:
                detail = f"{name} is paused, and a repair writes: resume it first"
                raise ProblemError(HTTPStatus.CONFLICT, "refused", detail)
            last = next(iter(details.reconciliation(plugin).runs), None)
            return reconciler.act(name, action, last, caller.name)

        return _read(details, name, act)

    return router


def _handler(details: Details, read: Callable[[Plugin], M]) -> Callable[..., M]:
    def handle(name: _Name, _: _Observer) -> M:
        return _read(details, name, read)

    return handle


def _read(details: Details, name: str, read: Callable[[Plugin], M]) -> M:
    plugin = details.find(name)
    if plugin is None:
        raise not_found("there is no mapping of this name")
    try:
        return read(plugin)
    except SinkError as fault:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        raise ProblemError(status, "unavailable", describe(fault)) from None
