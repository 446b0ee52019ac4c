"""Check before the write that no step has copied a masked value into another column.

Policies name source columns, and a declared column has the mask of its source.  A value that a
plugin's `sink_map` copies into another column would escape its mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from functools import cache
from html import unescape
from typing import Any
from unicodedata import normalize, numeric
from urllib.parse import unquote
from uuid import UUID

from ..errors import PolicyError, StepError
from ..model.batch import Hidden
from ..plugin import ABSENT, Row, TableMapping
from .identifiers import normalize_identifier
from .origins import Origin, Origins
from .policy import Policies
from .principals import group_principal

_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[bfnrt])")
_Forms = tuple[str, str, str]
_SHORTEST = 6, 6, 10
"""The least characters of a form: a shorter one may occur in a text by chance."""
_SHORTEST_DATE = 6, 6, 8


def hidden_sources(mapping: TableMapping, policies: Policies, origins: Origins) -> Hidden:
    """Return the source columns to hide: also one without a decision of the policies.

    A column that is only a lookup's input is left out: its value does not reach the target.
    """
    return {
        name: frozenset(c.name for c in mapping.columns if name in c.sources or c.lookup)
        for name in mapping.source_columns
        if _hidden(mapping, policies, origins.of_source(mapping, name))
    }


def _hidden(mapping: TableMapping, policies: Policies, origins: Iterable[Origin]) -> bool:
    principal = group_principal(mapping.target_table.database)
    try:
        masks = [origin.decide(policies, principal) for origin in origins]
    except PolicyError:
        return True
    return any(mask is not None and mask.function is not None for mask in masks)


def refuse_leaks(hidden: Hidden, given: Iterable[Mapping[str, Any]], row: Row) -> None:
    """Raise StepError if `row` has a hidden value in a column that is not made of it.

    `given` are the source rows of the event; `row` has the columns that a step has changed.
    Declared columns are masked by their own policies.
    """
    written = {name: _forms(value) for name, value in row.items() if value}
    for source_row in given:
        for source, own in hidden.items():
            clear = source_row.get(source)
            if not written.keys() - own or clear is None or clear is ABSENT:
                continue
            looked_for = _looked_for(clear)
            for name in written.keys() - own:
                # The text of a MaskedValue contains the name of its column.
                if f"<masked {source}>" in written[name][0] or any(
                    any(map(_stands_in, forms, written[name], shortest))
                    for forms, shortest in looked_for
                ):
                    fault = f"carries {source!r} to column {name!r} unmasked"
                    raise StepError("maps", "sink_map", fault)


def _stands_in(value: str, text: str, shortest: int) -> bool:
    return len(value) >= shortest and (value in text or value[::-1] in text)


def _looked_for(clear: Any) -> list[tuple[_Forms, tuple[int, int, int]]]:
    """Return the forms of a hidden value: a mobile number without prefix, a time by its day."""
    found = [(_forms(clear), _SHORTEST)]
    if isinstance(clear, date):
        day = clear.strftime("%d"), clear.strftime("%m"), f"{clear.year:04}"
        orders = [(*day,), (day[1], day[0], day[2]), day[::-1]]
        found += [(("", "", "".join(order)), _SHORTEST_DATE) for order in orders]
    elif (bare := normalize_identifier(text := _text(clear))) != text:
        found.append((_forms(bare), _SHORTEST))
    return found


def _forms(value: Any) -> _Forms:
    """Return the text of a value, its letters and digits without separators, and its digits.

    Times and UUIDs have one form: their digits may contain any short number by chance.
    """
    text = _text(value)
    if isinstance(value, date | time | UUID):
        return text, "", ""
    plain = "".join(map(_plain, normalize("NFKD", _unescaped(text)).casefold()))
    return text, plain, "".join(filter(str.isdecimal, plain))


def _unescaped(text: str) -> str:
    """Return a text without the escapes of JSON, URLs and HTML."""
    return unescape(unquote(_JSON_ESCAPE.sub(lambda it: chr(int(it[1] or "20", 16)), text)))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return " ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


@cache
def _plain(char: str) -> str:
    """Return a digit of any script as ASCII's, a letter or digit unchanged, otherwise ''."""
    number = numeric(char, -1)
    if number in range(10):
        return str(int(number))
    return char if char.isalnum() else ""
