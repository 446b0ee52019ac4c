"""Check that no masked value replaces a real one.

A masked value must not return to the table from which it was made.  The echo guard does not prevent
that: if a person edits the masked row, all of its columns are sent back.  Nor may it be a key,
which two people could then share, or a version, or replace what users of the target wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ..errors import PolicyError
from ..plugin import TableMapping
from .lineage import NOTHING_KNOWN, Known, Line, lines
from .masks import MaskKind
from .origins import NOT_READ, Origins
from .policy import ColumnName, Policies

Way = tuple[Line, ...]


def refuse_returns(
    mapping: str,
    mappings: Mapping[str, TableMapping],
    policies: Policies,
    origins: Origins = NOT_READ,
) -> None:
    """Raise PolicyError if a mapping is part of a masked round trip over any mappings."""
    known = {mapping: origins}
    ways = [
        way
        for way in returns(mappings, policies, known)
        if any(it.mapping == mapping for it in way)
    ]
    found = [*spoils({mapping: mappings[mapping]}, policies, known), *map(describe, ways)]
    if found:
        raise PolicyError("\n".join(found))


def faults(
    mappings: Mapping[str, TableMapping], policies: Policies, origins: Known = NOTHING_KNOWN
) -> list[str]:
    """Return all faults: unmasked columns, useless masks and masked round trips."""
    unmasked = [line for line in lines(mappings, policies, origins=origins) if line.fault]
    found = [f"mapping {line.mapping!r}: {line.fault}" for line in unmasked]
    return [
        *found,
        *spoils(mappings, policies, origins),
        *map(describe, returns(mappings, policies, origins)),
    ]


def spoils(
    mappings: Mapping[str, TableMapping], policies: Policies, origins: Known = NOTHING_KNOWN
) -> Iterator[str]:
    """Yield the masks that make a column useless to its mapping."""
    for line in lines(mappings, policies, origins=origins):
        if line.mask is not None and line.mask.function is not None:
            why = _spoilt(mappings[line.mapping], line.target.column, line.mask.kind)
            if why:
                yield (
                    f"mapping {line.mapping!r} masks {line.source} by {line.seen}, and "
                    f"{line.target} {why}; give {line.principal} MASK_NONE, or leave the column out"
                )


def _spoilt(mapping: TableMapping, column: str, kind: MaskKind) -> str:
    keys = {*mapping.key, *(mapping.derived.key if mapping.derived else ())}
    if column in keys and kind is not MaskKind.HASH:
        return "is a key: two rows would become one"
    if kind is MaskKind.NULL and any(
        it.required or it.must_resolve for it in mapping.columns if it.name == column
    ):
        return "is required: no row could be written"
    if column == mapping.conflict.version:
        return "decides which row is newer"
    if mapping.conflict_detection is not None and column not in keys:
        return "is contested: a masked value would overwrite a real one"
    return ""


def returns(
    mappings: Mapping[str, TableMapping], policies: Policies, origins: Known = NOTHING_KNOWN
) -> Iterator[Way]:
    """Yield the paths of masked columns back to their own table, over declared columns."""
    found = lines(mappings, policies, origins=origins)
    after: dict[ColumnName, list[Line]] = defaultdict(list)
    for line in found:
        after[line.source].append(line)
    for line in found:
        if line.mask is not None and line.mask.function is not None:
            yield from _back((line,), after)


def describe(way: Sequence[Line]) -> str:
    """Return the message for a masked round trip."""
    first, *others = way
    names = ", then ".join(f"{line.mapping!r} to {line.target}" for line in others)
    return (
        f"mapping {first.mapping!r} masks {first.source} on its way to {first.target}, which is "
        f"carried on by {names}: a masked value would overwrite a real one; leave the column out "
        "of one of the mappings, or turn one off"
    )


def _back(way: Way, after: Mapping[ColumnName, Sequence[Line]]) -> Iterator[Way]:
    seen = {line.source for line in way}
    for line in after.get(way[-1].target, ()):
        if line.target[:3] == way[0].source[:3]:
            yield (*way, line)
        elif line.source not in seen:
            yield from _back((*way, line), after)
