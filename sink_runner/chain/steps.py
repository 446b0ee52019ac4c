"""A mapping's steps: pluggy decides who takes part, tuples of functions do the work.

A pluggy call costs some microseconds and forgets which plugin raised; frozen, a step costs a
tenth of one and is always named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import pluggy
import psycopg

from ..errors import PluginError, RetriableError, SinkError, StepError, raised
from ..plugin import Changes, Context, Event, Row, Verdict
from ..target.faults import is_the_world_s

Contexts: TypeAlias = Mapping[str, Context]


class Step(NamedTuple):
    """One plugin's part in one step of the chain."""

    call: Callable[..., Any]
    plugin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The plugins' functions of one mapping, in the order in which they run."""

    filters: tuple[Step, ...] = ()
    maps: tuple[Step, ...] = ()
    masks: tuple[Step, ...] = ()
    resolvers: tuple[Step, ...] = ()
    writers: tuple[Step, ...] = ()

    @classmethod
    def from_manager(cls, manager: pluggy.PluginManager, contexts: Contexts) -> Chain:
        return cls(
            filters=_freeze(manager.hook.sink_filter, contexts),
            maps=_freeze(manager.hook.sink_map, contexts),
            masks=_freeze(manager.hook.sink_mask, contexts),
            resolvers=_freeze(manager.hook.sink_resolve_conflict, contexts),
            writers=_freeze(manager.hook.sink_write, contexts),
        )

    @property
    def decides_writes(self) -> bool:
        """Whether a plugin resolves conflicts or writes the rows."""
        return bool(self.resolvers or self.writers)

    def verdict(self, event: Event) -> Verdict:
        """The first answer that is not PASS."""
        for step in self.filters:
            answer = _call(step, "sink_filter", event)
            if answer is not Verdict.PASS:
                if not isinstance(answer, Verdict):
                    raise StepError(step.plugin, "sink_filter", "did not return a Verdict")
                return answer
        return Verdict.PASS

    def map(self, event: Event, row: Row) -> Row:
        for step in self.maps:
            row = _returned(_call(step, "sink_map", event, own_copy(row)), step, "sink_map", row)
        return row

    def mask(self, row: Row) -> Row:
        for step in self.masks:
            row = _returned(_call(step, "sink_mask", dict(row)), step, "sink_mask", row)
        return row

    def resolve(self, incoming: Row, current: Row) -> Row:
        """The row that the target should hold; the incoming one if nobody has an opinion."""
        for step in self.resolvers:
            winner = _call(step, "sink_resolve_conflict", incoming, current)
            if winner is not None:
                return _returned(winner, step, "sink_resolve_conflict", incoming)
        return incoming

    def write(self, changes: Changes, connection: psycopg.Connection[Any]) -> int | None:
        """What a plugin wrote of the batch itself; None if it is left to the runner.

        Faults of the database pass as they are: whose fault they are is judged elsewhere.
        """
        for step in self.writers:
            written = _call(step, "sink_write", changes, connection)
            if isinstance(written, int):
                return written
            if written is not None:
                kind = type(written).__name__
                raise StepError(step.plugin, "sink_write", f"returned a {kind}, not a number")
        return None


def own_copy(row: Row) -> Row:
    """Return a row that a plugin may change without the runner's own values changing."""
    return {
        name: deepcopy(value) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }


def _call(step: Step, name: str, *arguments: Any) -> Any:
    try:
        return step.call(*arguments)
    except (SinkError, psycopg.Error, KeyboardInterrupt):
        raise
    except BaseException as fault:  # a panic of an extension in Rust, or SystemExit
        if is_the_world_s(fault):
            reason = f"{name} of plugin {step.plugin!r} raised {type(fault).__name__}"
            raise RetriableError(reason) from fault
        raise StepError(step.plugin, name, raised(fault)) from fault


def _returned(row: Row | None, step: Step, name: str, given: Row) -> Row:
    """Return a plugin's row, or raise StepError if it lacks a column of the row that was given."""
    if isinstance(row, dict):
        for column in given:
            if column not in row:
                raise StepError(step.plugin, name, f"returned no value for column {column!r}")
        return row
    if row is None:
        raise StepError(step.plugin, name, "returned None; only a filter may drop")
    raise StepError(step.plugin, name, f"returned a {type(row).__name__}, not a row")


def _freeze(hook: pluggy.HookCaller, contexts: Contexts) -> tuple[Step, ...]:
    """The hook's implementations in pluggy's own call order, `ctx` bound."""
    assert hook.spec is not None
    return tuple(
        Step(_bind(impl, hook.spec.argnames, contexts[impl.plugin_name]), impl.plugin_name)
        for impl in reversed(hook.get_hookimpls())
    )


def _bind(impl: pluggy.HookImpl, spec: tuple[str, ...], ctx: Context) -> Callable[..., Any]:
    if impl.wrapper or impl.hookwrapper:
        raise PluginError(impl.plugin_name, f"{impl.function.__name__} cannot be a wrapper")
    function: Callable[..., Any] = impl.function
    *free, last = spec
    assert last == "ctx"
    if impl.argnames == tuple(free):
        return function
    if impl.argnames == spec:
        return lambda *given: function(*given, ctx)
    places = [spec.index(name) for name in impl.argnames]
    return lambda *given: function(*[(*given, ctx)[place] for place in places])
