"""Checks of the types of copied columns: can a value of the source's arrive in the target's?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from ..errors import ValueRefusedError
from ..model.findings import Fault
from ..plugin import Column, Constant, SyncTime
from ..postgres.catalog import CatalogColumn
from ..postgres.narrowing import loss, narrowing
from ..postgres.types import PgType, declared_type
from ..transform.pg_encoding import staged_as, to_text
from .subject import Subject

# Their input functions take no value.
_WITHOUT_INPUT = (
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
)
_TEXT = declared_type("text")
_NUMERIC = "N"
_BITS = "V"


def check_types(subject: Subject) -> Iterator[Fault]:
    """A column whose values would always be refused, or would be read as something else."""
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
    """A constant or a default that the target's type refuses or changes: so would every row."""
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
                f"cannot be written to {subject.mapping.target} as it is: {reason}",
                f"a value of {target.pg.declared}",
                "correct the value in the plugin",
                column=column.name,
            )


def _constant_refusal(value: Any, target: CatalogColumn, subject: Subject) -> str | None:
    try:
        text = to_text(staged_as(target.pg, target.stage_type)(value))
        if target.pg.element is None and (check := narrowing(_TEXT, target.pg)) is not None:
            check(text)
        with subject.writing.transaction():
            subject.writing.execute(f"SELECT {target.pg.read('%s::text')}".encode(), (text,))
    except ValueRefusedError as fault:
        return str(fault)
    except (psycopg.DataError, psycopg.ProgrammingError):
        return "PostgreSQL does not read it"
    return None


def is_copied(column: Column) -> bool:
    """Whether a column's values are the source's, and no function's of the mapping."""
    return (
        column.convert is None and column.lookup is None and not isinstance(column.source, Constant)
    )


def type_refusal(source: PgType, target: PgType) -> str | None:
    """Give the reason for which no value can go from one type to the other; None if some can."""
    if source.element is not None and target.element is not None:
        return type_refusal(source.element, target.element)
    if reason := _shape_refusal(source, target):
        return reason
    if source.category == _BITS and target.category == _NUMERIC:
        return "the digits of a bit string would be read as those of a decimal number"
    if source.kind == target.kind == "c":
        return _field_refusal(source, target)
    if source.subtype and target.subtype:
        return _part_refusal("its bounds are", source.subtype, target.subtype)
    return loss(source, target)


def _shape_refusal(source: PgType, target: PgType) -> str | None:
    for pg in (source, target):
        if pg.is_builtin(*_WITHOUT_INPUT):
            return f"PostgreSQL reads no value of type {pg.name}"
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
    """A value of several parts is read as a whole, so that no part of it is checked alone."""
    reason = type_refusal(source, target)
    if reason is None and narrowing(source, target) is not None:
        reason = f"would change a value of {source.declared}"
    return reason and f"{part} {target.declared}: {reason}"


def _holds_any(target: PgType) -> bool:
    """Whether a type holds the text or the JSON of an array."""
    if target.element is not None:
        return False
    return target.category == "S" or target.is_builtin("json", "jsonb")
