"""Record the results of each plugin's hooks for an event, without a value of the row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..errors import class_name
from ..plugin import FilterResult
from ..transform.hook_calls import Step
from ..transform.lookup_step import Resolver
from ..transform.steps import Chain


class HookAnswer(NamedTuple):
    """What one plugin returned from one hook."""

    hook: str
    plugin: str
    answer: str


@dataclass(slots=True)
class Trace:
    """The results of the hooks in the order of the calls, and the counts of lookups."""

    steps: list[HookAnswer] = field(default_factory=list)
    lookups: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By column: how many values were looked up, and how many were found."""

    def trace_steps(self, chain: Chain) -> Chain:
        """Return the chain with hooks that record their answers here."""
        return replace(
            chain,
            filters=self._all("sink_filter", chain.filters, _result_name),
            maps=self._all("sink_map", chain.maps, _changed(1)),
            masks=self._all("sink_mask", chain.masks, _changed(0)),
            resolvers=self._all("sink_resolve_conflict", chain.resolvers, _opinion),
            writers=self._all("sink_write", chain.writers, _opinion),
        )

    def trace_lookups(self, resolve: Resolver) -> Resolver:
        def resolved(column: str, values: set[Any]) -> Mapping[Any, Any]:
            self.lookups[column] = len(values), 0
            found = resolve(column, values)
            self.lookups[column] = len(values), sum(it is not None for it in found.values())
            return found

        return resolved

    def of(self, hook: str) -> list[HookAnswer]:
        """Return each plugin's first result: a filter may be called for the before image, too."""
        first: dict[str, HookAnswer] = {}
        for answer in self.steps:
            if answer.hook == hook:
                first.setdefault(answer.plugin, answer)
        return list(first.values())

    def _all(
        self, hook: str, steps: Collection[Step], describe: Callable[[Any, tuple[Any, ...]], str]
    ) -> tuple[Step, ...]:
        return tuple(
            Step(self._record_answers(hook, step, describe), step.plugin) for step in steps
        )

    def _record_answers(
        self, hook: str, step: Step, describe: Callable[[Any, tuple[Any, ...]], str]
    ) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            # A hook may change the row that it gets.
            before = tuple(dict(it) if isinstance(it, dict) else it for it in arguments)
            try:
                answer = step.call(*arguments)
            except Exception as fault:
                self.steps.append(HookAnswer(hook, step.plugin, f"raised {class_name(fault)}"))
                raise
            self.steps.append(HookAnswer(hook, step.plugin, describe(answer, before)))
            return answer

        return call


def _result_name(answer: Any, _arguments: tuple[Any, ...]) -> str:
    return answer.name if isinstance(answer, FilterResult) else "no result"


def _changed(at: int) -> Callable[[Any, tuple[Any, ...]], str]:
    def describe(answer: Any, arguments: tuple[Any, ...]) -> str:
        if not isinstance(answer, dict):
            return "no row"
        row = arguments[at]
        names = sorted(name for name in answer if name not in row or answer[name] != row[name])
        return f"changed {', '.join(names)}" if names else "changed nothing"

    return describe


def _opinion(answer: Any, _arguments: tuple[Any, ...]) -> str:
    return "left it to the others" if answer is None else "decided"
