"""Find names that now belong to other columns: two names that were swapped, or a reused name.

Masks and classifications go by name, so such a name could unmask the values of another column. The
order of a table's columns never changes: a dropped column leaves a gap, and a new one is the last.
Where names and order contradict each other, a person decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .schema_findings import Change
from .shape import ColumnShape, RowShape
from .type_changes import change_of


def reused_names(previous: RowShape, current: RowShape, *, later: bool) -> dict[str, str]:
    """Return names of both rows that seem to belong to another column now, with their new names.

    The new name is "" where it is uncertain. Without `later`, `current` may be the older one.
    """
    before, after = _comparable(previous, current)
    if len(before) == len(after) and (found := _moved_names(before, after)):
        return found
    if found := dict(_reordered(before, after)):
        return found
    if not later and not [*_displaced(after, before), *_reordered(after, before)]:
        return {}  # an unknown column may have been dropped since, and this row is older
    return dict(_displaced(before, after))


def _comparable(
    previous: RowShape, current: RowShape
) -> tuple[list[ColumnShape], list[ColumnShape]]:
    """Return their columns without those that are new in a table: its events may lack them.

    A column that capture leaves out looks like a new one of the table.
    """
    of_events = current.schema_id is not None
    after = [one for one in current.columns.values() if of_events or one.name in previous.columns]
    return list(previous.columns.values()), after


def _moved_names(before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> dict[str, str]:
    """Compare by position, where only names differ: names that moved to another position."""
    pairs = list(zip(before, after, strict=True))
    if not all(_same_type(old_column, new_column) for old_column, new_column in pairs):
        return {}
    names = {column.name for column in after}
    return {a.name: b.name for a, b in pairs if a.name != b.name and a.name in names}


def _reordered(
    before: Sequence[ColumnShape], after: Sequence[ColumnShape]
) -> Iterator[tuple[str, str]]:
    """Yield names in another order, except for a column that was certainly created again."""
    old, new = _positions(before), _positions(after)
    both = [name for name in old if name in new]
    for at, first in enumerate(both):
        overtaking = [name for name in both[at + 1 :] if new[name] < new[first]]
        if not overtaking:
            continue
        if successor := _successor(first, before, after):
            yield first, successor
        elif _may_be_another(first, before, after):
            yield from ((name, "") for name in (first, *overtaking))


def _successor(name: str, before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> str:
    """Return the new name at the position of `name`, between remaining neighbours; else ""."""
    old, new = _positions(before), _positions(after)
    stayed = [-1, *(new[one.name] for one in before[: old[name]] if one.name in new)]
    for column in after[stayed[-1] + 1 :]:
        if column.name in old:
            break
        if _same_type(before[old[name]], column):
            return column.name
    return ""


def _may_be_another(name: str, before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> bool:
    """Whether an old column may have this name now: a column never moves towards the end."""
    place = _positions(after)[name]
    return any(_same_type(one, after[place]) for one in before[place:] if one.name != name)


def _displaced(
    before: Sequence[ColumnShape], after: Sequence[ColumnShape]
) -> Iterator[tuple[str, str]]:
    """Yield names after more new columns than were dropped before them, where none can be added.

    A table that was dropped and created again may look like this; its types show the difference.
    """
    for name in _crowded(before, after):
        successor = _successor(name, before, after)
        if successor or _may_be_another(name, before, after):
            yield name, successor


def _crowded(before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> list[str]:
    old, last, fresh = _positions(before), -1, 0
    for at, column in enumerate(after):
        place = old.get(column.name)
        if place is None:
            fresh += 1
        elif place < last:
            return []  # created again, as all that follow
        elif fresh > place - last - 1:
            return [one.name for one in after[at:] if one.name in old]
        else:
            last, fresh = place, 0
    return []


def _positions(columns: Sequence[ColumnShape]) -> dict[str, int]:
    return {column.name: place for place, column in enumerate(columns)}


def _same_type(one: ColumnShape, other: ColumnShape) -> bool:
    return change_of(one, other) is Change.NONE
