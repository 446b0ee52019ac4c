"""PostgreSQL's text forms: of floating-point numbers, arrays and hstore, written and read."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from ..errors import ValueRefusedError

Items: TypeAlias = "list[str | Items | None]"

# -- floating-point numbers ------------------------------------------------------------------

_SINGLE = struct.Struct("<f")
_SMALLEST_NORMAL = 1.1754943508222875e-38
_MIDPOINTS = float(1 << 50)
"""No smaller double has a shortest text that lies between it and a neighbour."""
_FIXED = -4
"""The smallest decimal exponent that PostgreSQL writes without an exponent."""


def float8_text(value: float) -> str:
    """Return the shortest text that reads as this double, as PostgreSQL writes it."""
    if (special := _special(value)) is not None:
        return special
    text = repr(value)
    if abs(value) >= _MIDPOINTS and _is_midpoint(text, value, math.ulp(value)):
        text = f"{value:.17g}"
    return _laid_out(Decimal(text), 15)


def float4_text(value: float) -> str:
    """Return the shortest text that reads as this single-precision number, as PostgreSQL does.

    Avro's `float` is widened to a double when it is read: 0.1 becomes 0.10000000149011612.
    """
    return _special(value) or _laid_out(Decimal(_shortest_single(value)), 6)


def single(value: float) -> float:
    """Round to single precision; OverflowError where it is out of range."""
    rounded: float = _SINGLE.unpack(_SINGLE.pack(value))[0]
    return rounded


def _shortest_single(value: float) -> str:
    for digits in range(6 if abs(value) >= _SMALLEST_NORMAL else 1, 9):
        text = f"{value:.{digits}g}"
        if single(float(text)) == value and not _is_midpoint(text, value, _single_ulp(value)):
            return text
    return f"{value:.9g}"


def _single_ulp(value: float) -> float:
    return math.ldexp(1.0, max(math.frexp(value)[1] - 24, -149))


def _is_midpoint(text: str, value: float, ulp: float) -> bool:
    """Whether a text lies just between two numbers: PostgreSQL writes one more digit then."""
    return abs(Fraction(text) - Fraction(value)) * 2 == Fraction(ulp)


def _special(value: float) -> str | None:
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return ("-0" if math.copysign(1, value) < 0 else "0") if value == 0 else None


def _laid_out(number: Decimal, fixed: int) -> str:
    sign, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    scientific = len(text) - 1 + exponent
    if _FIXED <= scientific < fixed:
        return format(number.normalize(), "f")
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{scientific:+03}"


# -- dates and times -------------------------------------------------------------------------

_MOMENT = re.compile(
    r"(\d{4,}-\d\d-\d\d)?(?:[T ]?(\d\d:\d\d:\d\d)(?:\.(\d+))?)?(?:Z|\+00(?::00)?)?( BC)?"
)


def moment_text(value: str, *, zoned: bool) -> str:
    """Return a date, a time or a timestamp at UTC as PostgreSQL prints it.

    `zoned` is whether the type has a zone.  An infinity stays as it is.
    """
    found = _MOMENT.fullmatch(value)
    if found is None:
        return value
    day, clock, fraction, era = found.groups()
    digits = (fraction or "").rstrip("0")
    if clock:
        clock += (f".{digits}" if digits else "") + ("+00" if zoned else "")
    return " ".join(part for part in (day, clock) if part) + (era or "")


# -- arrays ----------------------------------------------------------------------------------

_BOUNDS = re.compile(r"(?:\[[+-]?\d+:[+-]?\d+\])+=")
_BLANK = " \t\n\v\f\r"
_ITEM = r'[ \t\n\v\f\r]*(?:([{{}}])|({0})|"((?:[^"\\]|\\.)*)"|((?:[^"\\{{}}{0}]|\\.)+))'
_TOKENS = {mark: re.compile(_ITEM.format(mark), re.DOTALL) for mark in ",;"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def array_literal(values: Sequence[Any], spell: Callable[[Any], str], delimiter: str = ",") -> str:
    """Return nested lists as an array literal; `spell` gives the text of an element."""
    return "{" + delimiter.join(_element(value, spell, delimiter) for value in values) + "}"


def _element(value: Any, spell: Callable[[Any], str], delimiter: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return array_literal(value, spell, delimiter)
    return '"' + spell(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_array(text: str, delimiter: str = ",") -> Items:
    """Read an array literal into nested lists of texts; lower bounds are left out.

    Raises ValueRefusedError if it is not one.
    """
    found = _BOUNDS.match(text)
    start = found.end() if found else 0
    stack: list[Items] = [[]]
    for opening, word in _tokens(text, start, delimiter):
        if opening == "{":
            inner: Items = []
            stack[-1].append(inner)
            stack.append(inner)
        elif opening == "}":
            if len(stack) == 1:
                raise _malformed()
            stack.pop()
        else:
            stack[-1].append(word)
    outer = stack[0]
    if len(stack) != 1 or len(outer) != 1 or not isinstance(outer[0], list):
        raise _malformed()
    return outer[0]


def _tokens(text: str, at: int, delimiter: str) -> Iterator[tuple[str | None, str | None]]:
    match = _TOKENS[delimiter].match
    text = text.rstrip(_BLANK)
    while at < len(text):
        found = match(text, at)
        if found is None:
            raise _malformed()
        at = found.end()
        brace, comma, quoted, bare = found.groups()
        if brace:
            yield brace, None
        elif quoted is not None:
            yield None, _ESCAPE.sub(r"\1", quoted)
        elif not comma:
            word = bare.rstrip(_BLANK)
            yield None, None if word.upper() == "NULL" else _ESCAPE.sub(r"\1", word)


def _malformed() -> ValueRefusedError:
    return ValueRefusedError("expected an array as PostgreSQL writes it")


# -- hstore ----------------------------------------------------------------------------------

_PAIR = re.compile(
    r'[ \t\n]*"((?:[^"\\]|\\.)*)" *=> *(?:"((?:[^"\\]|\\.)*)"|(NULL)) *(?:,|$)',
    re.DOTALL | re.IGNORECASE,
)


def hstore_literal(pairs: Mapping[str, str | None]) -> str:
    """Return a mapping as hstore's text."""
    return ", ".join(
        f"{_word(key)}=>{'NULL' if value is None else _word(value)}" for key, value in pairs.items()
    )


def parse_hstore(text: str) -> dict[str, str | None]:
    """Read hstore's text as PostgreSQL writes it; ValueRefusedError if it is not that."""
    pairs: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise ValueRefusedError("expected an hstore as PostgreSQL writes it")
        key, value, _ = found.groups()
        pairs[_ESCAPE.sub(r"\1", key)] = None if value is None else _ESCAPE.sub(r"\1", value)
        at = found.end()
    return pairs


def _word(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
