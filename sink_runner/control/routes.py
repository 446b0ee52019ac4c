"""The routes under /v1/mappings: the state of the mappings, and what an operator does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from ..api.callers import Caller
from ..api.operations import require_scope
from ..api.problems import ProblemError, documented, invalid, not_found
from ..batch.lock import BusyError
from ..config import Config
from ..error_text import describe, text_of
from ..errors import ConfigError, SinkError
from ..loading.discovery import Plugin, Status
from ..loading.quarantine import require_usable
from .plan import Plan, plan_pause, plan_resume
from .replay import Start, plan_replay
from .resync import plan_resync, target_of
from .status import MappingReport, read_status
from .store import MOST_REASON
from .target import Target

_Name = Annotated[str, Path(description="The mapping, as `sink-runner plugins` names it.")]
_Observer = Annotated[Caller, Depends(require_scope("observe"))]
_Operator = Annotated[Caller, Depends(require_scope("operate"))]
_ERRORS = documented(401, 403, 404, 422, 429, 503)
_REFUSED = documented(401, 403, 404, 409, 422, 429, 503)
_REFUSED[409]["description"] = "It cannot be done; `detail` says why, and what to do."


class Action(BaseModel):
    """What an operator wants."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Answer the plan, and change nothing.")


class PauseAction(Action):
    reason: str = Field(
        min_length=1,
        max_length=MOST_REASON,
        pattern=r"\S",
        description="Why, for those who find the mapping paused; without personal values.",
    )


class ReplayAction(Action):
    start: str = Field(
        alias="from",
        max_length=100,
        description="A time of ISO 8601, UTC if it has no zone, or `offset:PARTITION:OFFSET`.",
    )


class ActionResult(BaseModel):
    """What the action does, and whether it was done."""

    plan: Sequence[str]
    command: str = Field(description="The same on the command line.")
    result: str | None = Field(description="What was done; null with `dry_run`.")


@dataclass(frozen=True, slots=True)
class _Mappings:
    """The mappings of the plugins that are on."""

    config: Config
    plugins: Mapping[str, Plugin]
    start: Callable[[Sequence[str]], object]

    def find(self, name: str) -> Plugin:
        plugin = self.plugins.get(name)
        if plugin is None or plugin.mapping is None or plugin.status is not Status.ON:
            raise _unknown()
        return plugin

    def target(self, name: str) -> Target:
        return target_of(self.find(name), self.config)

    def plan_resync(self, name: str) -> Plan:
        def run(user: str) -> str:
            self.start(["resync", name, "--yes", "--as", user])
            return "started: the log of the service and sink.control_request have its result"

        plugin = self.find(name)
        return plan_resync(plugin, require_usable(plugin, self.plugins.values()), self.config, run)


def routes(
    config: Config, plugins: Mapping[str, Plugin], start: Callable[[Sequence[str]], object]
) -> APIRouter:
    """Return the routes; reading needs the scope `observe`, acting `operate`.

    `start` starts a command, with its words, as a process of its own.
    """
    router = APIRouter(prefix="/v1/mappings", tags=["Mappings"])
    mappings = _Mappings(config, plugins, start)

    @router.get("", responses=_ERRORS, summary="The state of every mapping")
    def get_mappings(_: _Observer) -> list[MappingReport]:
        return read_status(config, plugins.values())

    @router.get("/{name}", responses=_ERRORS, summary="The state of one mapping")
    def get_mapping(name: _Name, _: _Observer) -> MappingReport:
        found = read_status(config, [plugins[name]]) if name in plugins else []
        if not found:
            raise _unknown()
        return found[0]

    _add_actions(router, mappings)
    return router


def _add_actions(router: APIRouter, mappings: _Mappings) -> None:
    @router.post("/{name}/pause", responses=_ERRORS, summary="Stop writing a mapping")
    def pause_mapping(name: _Name, action: PauseAction, caller: _Operator) -> ActionResult:
        return _act(action, caller, lambda: plan_pause(mappings.target(name), action.reason))

    @router.post("/{name}/resume", responses=_ERRORS, summary="Go on with a paused mapping")
    def resume_mapping(name: _Name, action: Action, caller: _Operator) -> ActionResult:
        return _act(action, caller, lambda: plan_resume(mappings.target(name)))

    @router.post("/{name}/replay", responses=_REFUSED, summary="Apply events again")
    def replay_mapping(name: _Name, action: ReplayAction, caller: _Operator) -> ActionResult:
        try:
            start = Start.parse(action.start)
        except ValueError:
            detail = "expected a time of ISO 8601, or offset:PARTITION:OFFSET"
            raise invalid([{"pointer": "/body/from", "detail": detail}]) from None
        return _act(action, caller, lambda: plan_replay(mappings.target(name), start))

    @router.post("/{name}/resync", responses=_REFUSED, summary="Make a target equal to its source")
    def resync_mapping(name: _Name, action: Action, caller: _Operator) -> ActionResult:
        return _act(action, caller, lambda: mappings.plan_resync(name))


def _act(action: Action, caller: Caller, make_plan: Callable[[], Plan]) -> ActionResult:
    """Answer the plan; apply it in the caller's name unless it is a dry run."""
    with problems():
        plan = make_plan()
        result = None if action.dry_run else plan.apply(caller.name)
    return ActionResult(plan=plan.lines, command=plan.command, result=result)


@contextmanager
def problems() -> Iterator[None]:
    """Answer 409 for what cannot be done, and 503 where a dependency does not answer."""
    try:
        yield
    except (ConfigError, BusyError) as fault:
        raise ProblemError(HTTPStatus.CONFLICT, "refused", text_of(fault)) from None
    except SinkError as fault:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", describe(fault)) from None


def _unknown() -> ProblemError:
    return not_found("there is no mapping of this name that is on")
