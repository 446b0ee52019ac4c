"""The operations: what each takes, what it answers, and what its caller must be allowed."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..config.api import Scope
from .callbacks import Flow
from .callers import Caller
from .idempotency import Request as Sent
from .problems import documented, not_found
from .requests import Accepted, Alert, BulkAccepted, Forecast, Uuid
from .responses import FAMILY, RECORD, FamilyEligibility, FamilyForecast, Profile
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
FamilyId = Annotated[Uuid, Path(description="The family.", examples=[FAMILY])]
RecordId = Annotated[Uuid, Path(description="The person's golden record.", examples=[RECORD])]
_WRITE = documented(400, 401, 403, 409, 413, 422, 429, 503)
_READ = documented(401, 403, 404, 422, 429, 503)


def needs(scope: Scope) -> Callable[[Request], Caller]:
    """The caller, whom the gate has let in, if it may do this."""

    def caller(request: Request) -> Caller:
        found: Caller = request.scope["state"]["caller"]
        found.need(scope)
        return found

    return caller


class Callbacks:
    """Accepts the items of a request."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def accept(
        self,
        flow: Flow[Any],
        items: Sequence[Any],
        sent: tuple[Request, Caller, str | None],
        place: str,
    ) -> list[Accepted]:
        request, caller, key = sent

        def publish() -> list[Accepted]:
            return self._services.intake.accept(flow, items, place=place)

        if key is None:
            return publish()
        body = request.scope["state"]["body"]
        return self._services.remembered.once(
            Sent(f"{caller.name} {request.url.path}", flow.topic, key, body), publish
        )


def callbacks(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Callbacks"])
    _callback(router, services, services.forecasts, Forecast, Scope.FORECASTS_WRITE)
    _callback(router, services, services.alerts, Alert, Scope.ALERTS_WRITE)
    return router


def _callback(
    router: APIRouter, services: Services, flow: Flow[Any], model: type[BaseModel], scope: Scope
) -> None:
    """Add the single and the bulk form of one kind of callback."""
    one, name = model.__name__.lower(), f"{model.__name__.lower()}s"
    taking, allowed = Callbacks(services), Depends(needs(scope))
    bulk_model = _bulk(model, services.api.max_items)

    @router.post(
        f"/{name}",
        status_code=202,
        responses=_WRITE,
        operation_id=f"post_{one}",
        summary=f"Accept one {one}",
        description=_ACCEPTED.format(one=one, scope=scope.value),
    )
    def single(
        request: Request,
        item: model,  # type: ignore[valid-type]  # made for each kind of callback
        caller: Caller = allowed,
        key: IdempotencyKey = None,
    ) -> Accepted:
        (accepted,) = taking.accept(flow, [item], (request, caller, key), "/body")
        return accepted

    @router.post(
        f"/{name}/bulk",
        status_code=202,
        responses=_WRITE,
        operation_id=f"post_{name}",
        summary=f"Accept many {name}",
        description=_ACCEPTED.format(one=one, scope=scope.value) + _ALL.format(name=name),
    )
    def bulk(
        request: Request,
        items: bulk_model,  # type: ignore[valid-type]  # made for each kind of callback
        caller: Caller = allowed,
        key: IdempotencyKey = None,
    ) -> BulkAccepted:
        found: Sequence[Any] = items.items  # type: ignore[attr-defined]
        sent = (request, caller, key)
        return BulkAccepted(accepted=taking.accept(flow, found, sent, "/body/items/{}"))


def _bulk(model: type[BaseModel], at_most: int) -> type[BaseModel]:
    example = {"items": model.model_config["json_schema_extra"]["examples"]}  # type: ignore[index]  # ours have examples
    return create_model(
        f"{model.__name__}s",
        __config__=ConfigDict(extra="forbid", json_schema_extra={"examples": [example]}),
        items=(list[model], Field(min_length=1, max_length=at_most)),  # type: ignore[valid-type]
    )


def reads(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Reads"])
    queries = services.reads

    @router.get(
        "/families/{family_id}/eligibility",
        responses=_READ,
        operation_id="get_family_eligibility",
        summary="Eligibility of a family, now",
        description="The latest evaluation of each member and scheme; of each scheme the best "
        f"member's. Scope `{Scope.ELIGIBILITY_READ.value}`.",
    )
    def eligibility(
        family_id: FamilyId, caller: Annotated[Caller, Depends(needs(Scope.ELIGIBILITY_READ))]
    ) -> FamilyEligibility:
        rows = queries["eligibility"].rows(family_id, caller.group)
        if not rows:
            raise not_found("this family was never evaluated")
        return FamilyEligibility.model_validate({"family_id": family_id, "schemes": rows})

    @router.get(
        "/families/{family_id}/forecast",
        responses=_READ,
        operation_id="get_family_forecast",
        summary="Latest forecast of a family",
        description="The newest forecast that the warehouse has. "
        f"Scope `{Scope.FORECASTS_READ.value}`.",
    )
    def forecast(
        family_id: FamilyId, caller: Annotated[Caller, Depends(needs(Scope.FORECASTS_READ))]
    ) -> FamilyForecast:
        rows = queries["forecast"].rows(family_id, caller.group)
        if not rows:
            raise not_found("there is no forecast for this family")
        return FamilyForecast.model_validate(rows[0])

    @router.get(
        "/profiles/{gr_id}",
        responses=_READ,
        operation_id="get_profile",
        summary="Profile of a person",
        description="Masked for the caller's group, as everything that leaves the warehouse. "
        f"Scope `{Scope.PROFILES_READ.value}`.",
    )
    def profile(
        gr_id: RecordId, caller: Annotated[Caller, Depends(needs(Scope.PROFILES_READ))]
    ) -> Profile:
        rows = queries["profile"].rows(gr_id, caller.group)
        if not rows:
            raise not_found("there is no record, or it was merged or given up")
        return Profile.model_validate(rows[0])

    return router


_ACCEPTED = """\
The answer comes when the {one} is durable: confirmed by every replica of Kafka, in the topic of
the table that it belongs to. From there it goes the way of any change of that table.
Scope `{scope}`."""
_ALL = """

One item that is wrong refuses all of them. If Kafka fails in the midst of it, the answer is 503
and `published` names the {name} that are durable all the same; sending all again is safe."""
