"""A value that hooks may pass on and compare, but not read."""

from __future__ import annotations

from typing import Any, Never

from ..errors import MaskedColumnError


class MaskedValue:
    """A value that the policies mask for the target.

    Equality, hash and truth value are those of the value; its text is masked.
    Every other operation raises MaskedColumnError: declare the column in
    `TableMapping.reads_unmasked` if a hook needs the value.
    """

    __slots__ = ("_column", "_value", "_writable_to")

    def __init__(self, value: Any, column: str, own: frozenset[str]) -> None:
        """`own` are the target's columns that mask the value, so that it may be written to them."""
        self._value = value
        self._column = column
        self._writable_to = own

    def __eq__(self, other: object) -> bool:
        return bool(self._value == (other._value if isinstance(other, MaskedValue) else other))

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"<masked {self._column}>"

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __copy__(self) -> MaskedValue:
        return self

    def __deepcopy__(self, _memo: object) -> MaskedValue:
        return self

    def __getattr__(self, _name: str) -> Never:
        raise MaskedColumnError(self._column)

    def _refuse(self, *_arguments: object) -> Never:
        raise MaskedColumnError(self._column)

    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
    __mod__ = __mul__ = __rmul__ = __truediv__ = __neg__ = __abs__ = __round__ = _refuse
    __len__ = __iter__ = __getitem__ = __contains__ = __reversed__ = _refuse
    __int__ = __float__ = __index__ = __bytes__ = __reduce_ex__ = _refuse


def reveal(value: Any, column: str) -> Any:
    """Return the value to write to a target's column, with every `MaskedValue` in it revealed.

    Raises MaskedColumnError if one may not be written to this column.
    """
    if isinstance(value, MaskedValue):
        if column not in value._writable_to:  # noqa: SLF001 - of this module
            raise MaskedColumnError(value._column)  # noqa: SLF001
        return value._value  # noqa: SLF001
    if isinstance(value, tuple | list):
        return type(value)([reveal(item, column) for item in value])
    if isinstance(value, dict):
        return {reveal(key, column): reveal(item, column) for key, item in value.items()}
    return value
