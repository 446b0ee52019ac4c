"""Check the types of columns: whether a value of the source can be written to the target.

Values are transferred as text and parsed by the target's type. Where no text of one type is a text
of the other, every row would become a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from ..errors import ValueRefusedError
from ..model.findings import Fault
from ..plugin import Column, Constant, SyncTime
from ..postgres.catalog import CatalogColumn
from ..postgres.declared_types import declared_type
from ..postgres.narrowing import loss, narrowing
from ..postgres.types import PgType
from ..transform.pg_encoding import staged_as, to_text
from .subject import Subject

# Their input functions accept no value.
_WITHOUT_INPUT = (
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
)
_TEXT_TYPE = declared_type("text")
_NUMERIC = "N"
_BITS = "V"

# The families of types by what the text of a value looks like.
_NUMBER, _TEXT, _MOMENT, _TIME, _SPAN = "number", "text", "moment", "time", "interval"
_TRUTH, _UUID, _BYTES, _ARRAY, _OTHER = "boolean", "uuid", "bytea", "array", "other"
_PARTS = "parts"
"""Ranges, composite, geometric and network types: their text is not that of a number or a time."""
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
"""For each family of the target's types, those of the source that it never accepts but infinity.

PostgreSQL accepts any punctuation in a date and braces around a uuid, so that it accepts an array
with one element for either.
"""
_PARSED = frozenset({_NUMBER, _TRUTH, _UUID, _MOMENT, _TIME, _SPAN, _ARRAY})
"""Families that accept some texts and refuse others."""


def check_types(subject: Subject) -> Iterator[Fault]:
    """A column whose values the target always refuses, or parses as another value."""
    if subject.mapping.derived is not None:
        return
    for column in subject.mapping.columns:
        target = subject.target_catalog.columns.get(column.name)
        if target is None or isinstance(column.source, SyncTime):
            continue
        for name in column.sources if is_copied(column) else ():
            source = subject.source_catalog.columns.get(name)
            reason = None if source is None else type_refusal(source.pg, target.pg)
            if source is not None and reason is not None:
                yield Fault(
                    f"column {column.name} of {subject.mapping.target} is {target.pg.declared} "
                    f"and {name} of {subject.mapping.source} is {source.pg.declared}: {reason}",
                    "a type of the target that holds every value of the source's",
                    f"change the type of {column.name}, or declare convert= for it in the plugin",
                    column=column.name,
                )


def check_constants(subject: Subject) -> Iterator[Fault]:
    """A constant or a default that the target's type refuses or changes, in every row."""
    for column in subject.mapping.columns:
        target = subject.target_catalog.columns.get(column.name)
        constant = column.source.value if isinstance(column.source, Constant) else None
        value = column.default if constant is None else constant
        if value is None or target is None or subject.mapping.derived is not None:
            continue
        reason = _constant_refusal(value, target, subject)
        if reason is not None and column.max_length is None and not column.lookups:
            yield Fault(
                f"the {'default' if constant is None else 'constant'} of column {column.name} "
                f"cannot be written to {subject.mapping.target} unchanged: {reason}",
                f"a value of {target.pg.declared}",
                "correct the value in the plugin",
                column=column.name,
            )


def _constant_refusal(value: Any, target: CatalogColumn, subject: Subject) -> str | None:
    try:
        text = to_text(staged_as(target.pg, target.stage_type)(value))
        if target.pg.element is None and (check := narrowing(_TEXT_TYPE, target.pg)) is not None:
            check(text)
        with subject.writing.transaction():
            subject.writing.execute(f"SELECT {target.pg.read('%s::text')}".encode(), (text,))
    except ValueRefusedError as fault:
        return str(fault)
    except (psycopg.DataError, psycopg.ProgrammingError):
        return "PostgreSQL does not parse it"
    return None


def check_casts(subject: Subject) -> Iterator[Fault]:
    """A column that is written unchanged, of a type that the target's type cannot parse."""
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
                continue  # check_types reports it
            problem = (
                f"column {name} ({source.pg.declared}) of {mapping.source} goes into "
                f"{column.name} ({target.pg.declared}) of {mapping.target}"
            )
            if never_fits(source.pg, target.pg):
                yield Fault(
                    f"{problem}, which accepts none of its values",
                    "a type that the values can be cast to",
                    f"declare convert= for {column.name}, or change the type of the target's "
                    "column",
                    column=column.name,
                )
            elif family(source.pg) == _TEXT and family(target.pg) in _PARSED:
                yield Fault(
                    f"{problem}: a row with another text becomes a dead letter",
                    "text that can always be cast",
                    f"declare convert= for {column.name}, or change the type of the target's "
                    "column",
                    column=column.name,
                    refused=False,
                )


def never_fits(source: PgType, target: PgType) -> bool:
    """Whether no value but NULL can be cast from one type to the other."""
    if source.element is not None and target.element is not None:
        return False  # an empty array can be cast
    return family(source) in _NEVER.get(family(target), ())


def family(pg: PgType) -> str:
    """Return the family of a type."""
    if pg.element is not None:
        return _ARRAY
    if pg.kind in {"c", "r", "m"}:
        return _PARTS
    return _BY_NAME.get(pg.name, _OTHER) if pg.schema == "pg_catalog" else _OTHER


def is_copied(column: Column) -> bool:
    """Whether a column's values are those of the source, unchanged by the mapping."""
    return (
        column.convert is None and column.lookup is None and not isinstance(column.source, Constant)
    )


def type_refusal(source: PgType, target: PgType) -> str | None:
    """Return why no value of one type can be written to the other; None if some value can."""
    if source.element is not None and target.element is not None:
        return type_refusal(source.element, target.element)
    if reason := _shape_refusal(source, target):
        return reason
    if source.category == _BITS and target.category == _NUMERIC:
        return "the digits of a bit string would be parsed as those of a decimal number"
    if source.kind == target.kind == "c":
        return _field_refusal(source, target)
    if source.subtype and target.subtype:
        return _part_refusal("its bounds are", source.subtype, target.subtype)
    return loss(source, target)


def _shape_refusal(source: PgType, target: PgType) -> str | None:
    for pg in (source, target):
        if pg.is_builtin(*_WITHOUT_INPUT):
            return f"PostgreSQL accepts no input for type {pg.name}"
    if (source.element is None) != (target.element is None) and not _holds_any(target):
        return "one is an array and the other is not"
    return None


def _field_refusal(source: PgType, target: PgType) -> str | None:
    if len(source.fields) != len(target.fields):
        return "the composite types differ in their fields"
    names, others = ([name for name, _ in pg.fields] for pg in (source, target))
    if names != others and set(names) == set(others):
        return "the composite types have their fields in another order"
    for (name, one), (_, other) in zip(source.fields, target.fields, strict=True):
        if reason := _part_refusal(f"field {name} is", one, other):
            return reason
    return None


def _part_refusal(part: str, source: PgType, target: PgType) -> str | None:
    """Return why a part is refused: a value is parsed as a whole, without a check for each part."""
    reason = type_refusal(source, target)
    if reason is None and narrowing(source, target) is not None:
        reason = f"would change a value of {source.declared}"
    return reason and f"{part} {target.declared}: {reason}"


def _holds_any(target: PgType) -> bool:
    """Whether a type can contain the text or the JSON of an array."""
    if target.element is not None:
        return False
    return target.category == "S" or target.is_builtin("json", "jsonb")
