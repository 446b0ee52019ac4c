"""A last look before the write: does a step carry a masked column's value somewhere else?

The policies speak of source columns, and a declared column takes its source's mask along.  What a
plugin's `sink_map` reads of the event and puts elsewhere has left that way.
"""

from __future__ import annotations

from ..errors import PolicyError, StepError
from ..plugin import ABSENT, Event, Row, TableMapping
from .policy import Policies
from .stamp import Hidden

_SHORTEST = 6
"""Characters; what is shorter may stand in a text by chance."""


def hidden_sources(mapping: TableMapping, policies: Policies) -> Hidden:
    """A column that is read and that no policy decides on is hidden, too.

    Of what is only looked up by, nothing reaches the target.
    """
    return {
        name: frozenset(c.name for c in mapping.columns if name in c.sources or c.lookup)
        for name in mapping.source_columns
        if _hidden(mapping, policies, name)
    }


def _hidden(mapping: TableMapping, policies: Policies, name: str) -> bool:
    source, group = mapping.source_table, mapping.target_table.database
    try:
        mask = policies.mask_for_target(source.database, source.schema, source.name, name, group)
    except PolicyError:
        return True
    return mask is not None and mask.function is not None


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
