"""A chain that notes what each plugin's part in it answered, without a value of the row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..errors import class_name
from ..plugin import FilterResult
from ..transform.hook_calls import Step
from ..transform.route import Resolver
from ..transform.steps import Chain


class Note(NamedTuple):
    """What one plugin said in one step."""

    hook: str
    plugin: str
    answer: str


@dataclass(slots=True)
class Notes:
    """What was noted, in its order."""

    steps: list[Note] = field(default_factory=list)
    lookups: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By column: how many values were asked for, and how many were found."""

    def watch(self, chain: Chain) -> Chain:
        """The chain, watched."""
        return replace(
            chain,
            filters=self._all("sink_filter", chain.filters, _result_name),
            maps=self._all("sink_map", chain.maps, _changed(1)),
            masks=self._all("sink_mask", chain.masks, _changed(0)),
            resolvers=self._all("sink_resolve_conflict", chain.resolvers, _opinion),
            writers=self._all("sink_write", chain.writers, _opinion),
        )

    def watch_lookups(self, resolve: Resolver) -> Resolver:
        def resolved(column: str, asked: set[Any]) -> Mapping[Any, Any]:
            self.lookups[column] = len(asked), 0
            found = resolve(column, asked)
            self.lookups[column] = len(asked), sum(it is not None for it in found.values())
            return found

        return resolved

    def of(self, hook: str) -> list[Note]:
        """Each plugin's first answer: a filter may be asked about the row before, too."""
        first: dict[str, Note] = {}
        for note in self.steps:
            if note.hook == hook:
                first.setdefault(note.plugin, note)
        return list(first.values())

    def _all(
        self, hook: str, steps: Collection[Step], tell: Callable[[Any, tuple[Any, ...]], str]
    ) -> tuple[Step, ...]:
        return tuple(Step(self._watched(hook, step, tell), step.plugin) for step in steps)

    def _watched(
        self, hook: str, step: Step, tell: Callable[[Any, tuple[Any, ...]], str]
    ) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            # A hook may change the row that it is given.
            before = tuple(dict(it) if isinstance(it, dict) else it for it in given)
            try:
                answer = step.call(*given)
            except Exception as fault:
                self.steps.append(Note(hook, step.plugin, f"raised {class_name(fault)}"))
                raise
            self.steps.append(Note(hook, step.plugin, tell(answer, before)))
            return answer

        return call


def _result_name(answer: Any, _given: tuple[Any, ...]) -> str:
    return answer.name if isinstance(answer, FilterResult) else "no result"


def _changed(at: int) -> Callable[[Any, tuple[Any, ...]], str]:
    def tell(answer: Any, given: tuple[Any, ...]) -> str:
        if not isinstance(answer, dict):
            return "no row"
        row = given[at]
        names = sorted(name for name in answer if name not in row or answer[name] != row[name])
        return f"changed {', '.join(names)}" if names else "changed nothing"

    return tell


def _opinion(answer: Any, _given: tuple[Any, ...]) -> str:
    return "left it to the others" if answer is None else "decided"
