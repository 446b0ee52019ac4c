"""A last look before the write: does a step carry a masked column's value somewhere else?

The policies speak of source columns, and a declared column takes its source's mask along.  What a
plugin's `sink_map` reads of the event and puts elsewhere has left that way.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import PolicyError, StepError
from ..plugin import ABSENT, Event, Row, TableMapping
from .origins import Origin, Origins
from .policy import Policies
from .readers import group_reader
from .stamp import Hidden

_SHORTEST = 6
"""Characters; what is shorter may stand in a text by chance."""


def hidden_sources(mapping: TableMapping, policies: Policies, origins: Origins) -> Hidden:
    """A column that is read and that no policy decides on is hidden, too.

    Of what is only looked up by, nothing reaches the target.
    """
    return {
        name: frozenset(c.name for c in mapping.columns if name in c.sources or c.lookup)
        for name in mapping.source_columns
        if _hidden(mapping, policies, origins.of_source(mapping, name))
    }


def _hidden(mapping: TableMapping, policies: Policies, origins: Iterable[Origin]) -> bool:
    reader = group_reader(mapping.target_table.database)
    try:
        masks = [origin.decide(policies, reader) for origin in origins]
    except PolicyError:
        return True
    return any(mask is not None and mask.function is not None for mask in masks)


def refuse_leaks(hidden: Hidden, event: Event, row: Row) -> None:
    """StepError where a hidden column's value stands in a column of `row` not made of it.

    `row` has the columns that a step has changed; what is declared goes by its own policy.
    """
    written = {name: str(value) for name, value in row.items() if value}
    for before_or_after in filter(None, (event.row, event.before)):
        for source, own in hidden.items():
            clear = before_or_after.get(source)
            if clear is None or clear is ABSENT or len(text := str(clear)) < _SHORTEST:
                continue
            for name in written.keys() - own:
                if text in written[name]:
                    fault = f"carries {source!r} to column {name!r} unmasked"
                    raise StepError("maps", "sink_map", fault)
