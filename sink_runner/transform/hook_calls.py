"""Call the functions of plugins: find them by their hook, classify errors, check results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

import pluggy
import psycopg

from ..errors import PluginError, RetriableError, SinkError, StepError, class_name, describe_raised
from ..plugin import Context, Row
from ..postgres.error_classes import is_transient

Contexts: TypeAlias = Mapping[str, Context]


class Step(NamedTuple):
    """One plugin's part in one step of the chain."""

    call: Callable[..., Any]
    plugin: str


def steps_of(hook: pluggy.HookCaller, contexts: Contexts) -> tuple[Step, ...]:
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


def own_copy(row: Row) -> Row:
    """Return a row that a plugin may change without the runner's own values changing."""
    return {
        name: deepcopy(value) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }


def call(step: Step, name: str, *arguments: Any) -> Any:
    """Call the step's function, which implements hook `name`.

    Raises StepError for an exception of the plugin, RetriableError if it reports an outage.  Errors
    of the runner and of the database are raised unchanged.
    """
    try:
        return step.call(*arguments)
    except (SinkError, psycopg.Error, KeyboardInterrupt):
        raise
    except BaseException as fault:  # a panic of an extension in Rust, or SystemExit
        if is_transient(fault):
            reason = f"{name} of plugin {step.plugin!r} raised {class_name(fault)}"
            raise RetriableError(reason) from fault
        raise StepError(step.plugin, name, describe_raised(fault)) from fault


def checked_row(row: Row | None, step: Step, name: str, given: Row) -> Row:
    """Return a plugin's row; raise StepError if it lacks a column of the row that it got."""
    if isinstance(row, dict):
        for column in given:
            if column not in row:
                raise StepError(step.plugin, name, f"returned no value for column {column!r}")
        return row
    if row is None:
        raise StepError(step.plugin, name, "returned None; only a filter may drop")
    raise StepError(step.plugin, name, f"returned a {type(row).__name__}, not a row")
