"""SQL that compares the values of columns as PostgreSQL stores them."""

from __future__ import annotations

from collections.abc import Sequence

from .types import PgType

# An explicit cast to these cuts off without an error what is too long; an assignment fails.
_CUT_OFF = ("varchar", "bpchar", "bit", "varbit")


def differ(old: Sequence[str], new: Sequence[str]) -> str:
    """SQL: whether two rows of the same types are not identical, byte for byte.

    PostgreSQL's record image operators need no equality operator of the types, cannot raise on
    a value, and distinguish what `=` calls equal: 1.5 and 1.50, 0 and -0, `alice` and `Alice` of
    citext, `1 mon` and `30 days`.
    """
    return f"ROW({', '.join(old)})::record *<> ROW({', '.join(new)})::record"


def as_base(value: str, pg: PgType) -> str:
    """SQL of a column's value as a value of its base type: image operators compare no domains."""
    return f"({value})::{pg.unbound_cast}"


def stored(value: str, pg: PgType) -> str:
    """SQL of what a value of the base type becomes when a column of the type stores it.

    A value that is too long stays as it is, since the assignment will refuse it.
    """
    if pg.modifier is None:
        return value
    bound = f"({value})::{pg.base_cast}"
    if not pg.scalar.is_builtin(*_CUT_OFF):
        return bound
    return f"CASE WHEN {bound} = {value} THEN {bound} ELSE {value} END"
