"""Compare the previous and the current type of a column."""

from __future__ import annotations

from ..model.envelope import ColumnType, Kind
from .schema_findings import Change
from .shape import ColumnShape

_SIZES = frozenset({Kind.STRING, Kind.DECIMAL})
_NUMBERS = (frozenset({Kind.INT, Kind.LONG}), frozenset({Kind.FLOAT, Kind.DOUBLE}))
# By Avro's rules the first can be read as the second without loss.
_FITS = frozenset({(Kind.INT, Kind.DOUBLE)})


def change_of(previous: ColumnShape, current: ColumnShape) -> Change:
    """Return the change of the type of a column that Avro can still read."""
    if not (previous.source_type and current.source_type):
        # For Avro a decimal number is a string: the kinds differ only with both source types.
        one, other = previous.type.kind, current.type.kind
        if {one, other} == {Kind.ENUM, Kind.STRING}:
            # Debezium looks up a type by its name alone. It takes an enum with the name of a
            # table in another schema for a text; the value is the label in both cases.
            return Change.NONE
    else:
        one, other = previous.kind, current.kind
    if one is other:
        return _same_kind(previous, current, one)
    if any(one in family and other in family for family in _NUMBERS):
        return _by_width(previous.bits, current.bits)
    if (other, one) in _FITS:
        return Change.NARROWED
    return Change.MEANING if _same_encoding(previous, current) else Change.TYPE


def _same_kind(previous: ColumnShape, current: ColumnShape, kind: Kind) -> Change:
    if kind is Kind.ARRAY:
        return Change.NONE if _items(previous.type, current.type) else Change.TYPE
    if kind is Kind.OPAQUE and previous.type.note != current.type.note:
        return Change.MEANING
    if kind in _SIZES and previous.source_type and current.source_type:
        return _by_size(previous, current)
    return _by_width(previous.bits, current.bits)


def _items(previous: ColumnType, current: ColumnType) -> bool:
    return (previous.item and previous.item.kind) == (current.item and current.item.kind)


def _by_width(previous: int | None, current: int | None) -> Change:
    if previous == current or previous is None or current is None:
        return Change.NONE
    return Change.NARROWED if current < previous else Change.WIDENED


def _by_size(previous: ColumnShape, current: ColumnShape) -> Change:
    """Compare sizes: digits before and after the point separately; None is unlimited."""
    pairs = [(previous.length, current.length)]
    if previous.kind is Kind.DECIMAL:
        pairs = [
            (_whole_digits(previous), _whole_digits(current)),
            (previous.scale, current.scale),
        ]
    if any(smaller(new, old) for old, new in pairs):
        return Change.NARROWED
    return Change.WIDENED if any(smaller(old, new) for old, new in pairs) else Change.NONE


def smaller(one: int | None, other: int | None) -> bool:
    return one is not None and (other is None or one < other)


def _whole_digits(column: ColumnShape) -> int | None:
    return None if column.length is None else column.length - (column.scale or 0)


def _same_encoding(previous: ColumnShape, current: ColumnShape) -> bool:
    """Whether both have the same encoding, so that only the meaning differs."""
    texts = {Kind.STRING, Kind.UUID, Kind.JSON, Kind.XML, Kind.ENUM, Kind.INTERVAL, Kind.DATE}
    texts |= {Kind.TIME, Kind.TIME_TZ, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ}
    return {previous.type.kind, current.type.kind} <= texts


def fits_target(column: ColumnShape, target: ColumnShape) -> bool:
    """Whether each value of the source fits the target's type, by the widths of the types."""
    if target.kind is not column.kind and not any(
        column.kind in family and target.kind in family for family in _NUMBERS
    ):
        return True  # the database casts another kind, or the mapping converts it
    return change_of(column, target) is not Change.NARROWED
