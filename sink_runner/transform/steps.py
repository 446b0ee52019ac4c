"""The steps of a mapping, as tuples of the functions that pluggy has found.

A pluggy call costs some microseconds and does not say which plugin raised.  A direct call costs a
tenth of a microsecond, and its plugin is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pluggy
import psycopg

from ..errors import StepError
from ..plugin import Changes, Event, FilterResult, Row
from .hook_calls import Contexts, Step, call, checked_row, own_copy, steps_of


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
            filters=steps_of(manager.hook.sink_filter, contexts),
            maps=steps_of(manager.hook.sink_map, contexts),
            masks=steps_of(manager.hook.sink_mask, contexts),
            resolvers=steps_of(manager.hook.sink_resolve_conflict, contexts),
            writers=steps_of(manager.hook.sink_write, contexts),
        )

    @property
    def decides_writes(self) -> bool:
        """Whether a plugin resolves conflicts or writes the rows."""
        return bool(self.resolvers or self.writers)

    def filter(self, event: Event) -> FilterResult:
        """Return the first result that is not PASS."""
        for step in self.filters:
            answer = call(step, "sink_filter", event)
            if answer is not FilterResult.PASS:
                if not isinstance(answer, FilterResult):
                    raise StepError(step.plugin, "sink_filter", "did not return a FilterResult")
                return answer
        return FilterResult.PASS

    def map(self, event: Event, row: Row) -> Row:
        for step in self.maps:
            row = checked_row(call(step, "sink_map", event, own_copy(row)), step, "sink_map", row)
        return row

    def mask(self, row: Row) -> Row:
        for step in self.masks:
            row = checked_row(call(step, "sink_mask", dict(row)), step, "sink_mask", row)
        return row

    def resolve(self, incoming: Row, current: Row) -> Row:
        """Return the row that the target should have; the incoming one if no plugin decides."""
        for step in self.resolvers:
            winner = call(step, "sink_resolve_conflict", incoming, current)
            if winner is not None:
                return checked_row(winner, step, "sink_resolve_conflict", incoming)
        return incoming

    def write(self, changes: Changes, connection: psycopg.Connection[Any]) -> int | None:
        """Return how many rows a plugin wrote; None if it leaves the batch to the runner.

        Errors of the database are raised unchanged; the writer classifies them.
        """
        for step in self.writers:
            written = call(step, "sink_write", changes, connection)
            if isinstance(written, int):
                return written
            if written is not None:
                kind = type(written).__name__
                raise StepError(step.plugin, "sink_write", f"returned a {kind}, not a number")
        return None
