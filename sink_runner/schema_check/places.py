"""Names that have come to stand for other columns: two that were swapped, or a name passed on.

Masks and classifications go by name, so such a name would show what another one hides.  A table's
columns keep their places: one that is dropped leaves its own, and a new one stands at the end.
Where names and places tell different stories, a person decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .compare import change_of
from .findings import Change
from .shape import ColumnShape, RowShape


def passed_on(then: RowShape, now: RowShape, *, later: bool) -> dict[str, str]:
    """Names of both rows that seem to stand for another column now, and what theirs is called.

    That is "" where nobody can tell.  Without `later` `now` may be of a time before `then`.
    """
    before, after = _comparable(then, now)
    if len(before) == len(after) and (found := _by_place(before, after)):
        return found
    if found := dict(_turned(before, after)):
        return found
    if not later and not [*_squeezed(after, before), *_turned(after, before)]:
        return {}  # what is new to us may have been dropped, and this was written before
    return dict(_squeezed(before, after))


def _comparable(then: RowShape, now: RowShape) -> tuple[list[ColumnShape], list[ColumnShape]]:
    """Their columns, but for a table's that are new to us: its events may not have them.

    What capture leaves out stands among a table's columns as if it had come since.
    """
    of_events = now.schema_id is not None
    after = [one for one in now.columns.values() if of_events or one.name in then.columns]
    return list(then.columns.values()), after


def _by_place(before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> dict[str, str]:
    """Where only names differ: each place that lost a name which another place has now."""
    pairs = list(zip(before, after, strict=True))
    if not all(_alike(was, is_) for was, is_ in pairs):
        return {}
    names = {column.name for column in after}
    return {a.name: b.name for a, b in pairs if a.name != b.name and a.name in names}


def _turned(
    before: Sequence[ColumnShape], after: Sequence[ColumnShape]
) -> Iterator[tuple[str, str]]:
    """Names in another order than before, but for a column that was surely made anew."""
    old, new = _places(before), _places(after)
    both = [name for name in old if name in new]
    for at, first in enumerate(both):
        behind = [name for name in both[at + 1 :] if new[name] < new[first]]
        if not behind:
            continue
        if heir := _heir(first, before, after):
            yield first, heir
        elif _may_be_another(first, before, after):
            yield from ((name, "") for name in (first, *behind))


def _heir(name: str, before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> str:
    """The new name at the place that `name` had, between the neighbours that stayed; else ""."""
    old, new = _places(before), _places(after)
    stayed = [-1, *(new[one.name] for one in before[: old[name]] if one.name in new)]
    for column in after[stayed[-1] + 1 :]:
        if column.name in old:
            break
        if _alike(before[old[name]], column):
            return column.name
    return ""


def _may_be_another(name: str, before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> bool:
    """Whether an old column may stand there under this name: none ever moves towards the end."""
    place = _places(after)[name]
    return any(_alike(one, after[place]) for one in before[place:] if one.name != name)


def _squeezed(
    before: Sequence[ColumnShape], after: Sequence[ColumnShape]
) -> Iterator[tuple[str, str]]:
    """Names behind more new ones than columns have gone: where no new column can stand.

    A table that was made anew as a whole may look like this, with types that tell so.
    """
    for name in _crowded(before, after):
        heir = _heir(name, before, after)
        if heir or _may_be_another(name, before, after):
            yield name, heir


def _crowded(before: Sequence[ColumnShape], after: Sequence[ColumnShape]) -> list[str]:
    old, last, fresh = _places(before), -1, 0
    for at, column in enumerate(after):
        place = old.get(column.name)
        if place is None:
            fresh += 1
        elif place < last:
            return []  # made anew, as all that follows
        elif fresh > place - last - 1:
            return [one.name for one in after[at:] if one.name in old]
        else:
            last, fresh = place, 0
    return []


def _places(columns: Sequence[ColumnShape]) -> dict[str, int]:
    return {column.name: place for place, column in enumerate(columns)}


def _alike(one: ColumnShape, other: ColumnShape) -> bool:
    return change_of(one, other) is Change.NONE
