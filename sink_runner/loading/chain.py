"""List what happens to an event of a mapping, in order: the runner's own steps and the hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..model.quality_rules import value_checks
from ..plugin import TableMapping
from . import discovery


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a hook with the plugins that implement it, or a step of the runner's own."""

    does: str
    """What the runner does; "" for a hook."""
    hook: str = ""
    plugins: tuple[discovery.Plugin, ...] = ()
    """In the order of their calls."""


def chain_steps(owner: discovery.Plugin, installed: Iterable[discovery.Plugin]) -> Iterator[Step]:
    """Yield the steps of the mapping of `owner`, with the global plugins that are on."""
    assert owner.mapping is not None
    on = {one.name: one for one in installed if one.status is discovery.Status.ON}
    manager = discovery.manager_for(owner, on.values())
    for does, hook in _steps(owner.mapping):
        if not hook:
            yield Step(does)
            continue
        # pluggy calls the last of its list first.
        impls = reversed(getattr(manager.hook, hook).get_hookimpls())
        yield Step("", hook, tuple(on[impl.plugin_name] for impl in impls))


def _steps(mapping: TableMapping) -> Iterator[tuple[str, str]]:
    yield "drop echoes of the runner's own writes", ""
    yield "", "sink_filter"
    if mapping.rules:
        yield f"check the row: {', '.join(rule.name for rule in mapping.rules)}", ""
    yield f"read {len(mapping.columns)} declared columns: source, convert, default", ""
    if ruled := [column.name for column in mapping.columns if value_checks(column)]:
        yield f"check, here and after sink_map: {', '.join(ruled)}", ""
    yield "", "sink_map"
    yield "mask by policy, cut to max_length", ""
    yield "", "sink_mask"
    if looked_up := [column.name for column in mapping.columns if column.lookup]:
        yield f"look up, once for the batch: {', '.join(looked_up)}", ""
    yield "", "sink_resolve_conflict"
    yield "", "sink_write"
    version = f" by {mapping.conflict.version}" if mapping.conflict.version else ""
    yield f"write, {mapping.conflict.strategy.value}{version}", ""
    yield "", "sink_batch_committed"
    yield "", "sink_event_failed"
