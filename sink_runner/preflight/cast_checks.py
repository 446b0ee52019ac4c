"""Checks of the types on both sides: a value that no row of the target could take.

Values travel as text and are read by the target's type.  Where no text of one type is a text of
the other, every row would be a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..model.findings import Fault
from ..postgres.types import PgType
from .subject import Subject
from .type_checks import type_refusal

_NUMBER, _TEXT, _MOMENT, _TIME, _SPAN = "number", "text", "moment", "time", "interval"
_TRUTH, _UUID, _BYTES, _ARRAY, _OTHER = "boolean", "uuid", "bytea", "array", "other"
_PARTS = "parts"
"""Ranges, composite, geometric and network types: their text is none of a number or a time."""
_BY_NAME: Mapping[str, str] = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8", "oid"), _NUMBER),
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), _TEXT),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), _MOMENT),
    **dict.fromkeys(("time", "timetz"), _TIME),
    **dict.fromkeys(("point", "line", "lseg", "box", "path", "polygon", "circle"), _PARTS),
    **dict.fromkeys(("inet", "cidr", "macaddr", "macaddr8"), _PARTS),
    "interval": _SPAN,
    "bool": _TRUTH,
    "uuid": _UUID,
    "bytea": _BYTES,
}
_NEVER: Mapping[str, frozenset[str]] = {
    _NUMBER: frozenset({_MOMENT, _TIME, _SPAN, _UUID, _BYTES, _ARRAY, _PARTS}),
    _TRUTH: frozenset({_MOMENT, _TIME, _SPAN, _UUID, _BYTES, _ARRAY, _PARTS}),
    _UUID: frozenset({_NUMBER, _TRUTH, _MOMENT, _TIME, _SPAN, _BYTES, _PARTS}),
    _MOMENT: frozenset({_TRUTH, _SPAN, _UUID, _BYTES}),
    _ARRAY: frozenset({_NUMBER, _TRUTH, _MOMENT, _TIME, _SPAN, _UUID, _BYTES}),
}
"""For each family of the target's types those of the source that it never takes, but for infinity.

Dates are read through any punctuation, and a uuid in braces: an array of one may pass for it.
"""
_PARSED = frozenset({_NUMBER, _TRUTH, _UUID, _MOMENT, _TIME, _SPAN, _ARRAY})
"""What takes some texts and refuses others."""


def check_casts(subject: Subject) -> Iterator[Fault]:
    """Every column that reaches the target as it is can be read by the target's type."""
    mapping = subject.mapping
    if mapping.derived is not None or mapping.query is not None:
        return
    for column in mapping.columns:
        target = subject.target_catalog.columns.get(column.name)
        if target is None or column.convert or column.lookup or column.one_of:
            continue
        for name in column.sources:
            source = subject.source_catalog.columns.get(name)
            if source is None or source.pg.same_base(target.pg):
                continue
            if type_refusal(source.pg, target.pg) is not None:
                continue  # told by the check of the types
            problem = (
                f"column {name} ({source.pg.declared}) of {mapping.source} goes into "
                f"{column.name} ({target.pg.declared}) of {mapping.target}"
            )
            if never_fits(source.pg, target.pg):
                yield Fault(
                    f"{problem}, which takes none of its values",
                    "a type that the values can be cast to",
                    f"declare convert= for {column.name}, or change the type of the target's "
                    "column",
                    column=column.name,
                )
            elif family(source.pg) == _TEXT and family(target.pg) in _PARSED:
                yield Fault(
                    f"{problem}: a row whose text is none will be a dead letter",
                    "text that can always be cast",
                    f"declare convert= for {column.name}, or change the type of the target's "
                    "column",
                    column=column.name,
                    refused=False,
                )


def never_fits(source: PgType, target: PgType) -> bool:
    """Whether no value of one type but NULL can be cast to the other."""
    if source.element is not None and target.element is not None:
        return False  # an empty array can
    return family(source) in _NEVER.get(family(target), ())


def family(pg: PgType) -> str:
    """What the text of a type's values looks like."""
    if pg.element is not None:
        return _ARRAY
    if pg.kind in {"c", "r", "m"}:
        return _PARTS
    return _BY_NAME.get(pg.name, _OTHER) if pg.schema == "pg_catalog" else _OTHER
