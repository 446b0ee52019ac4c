"""A last look before the write: does a step carry a masked column's value somewhere else?

The policies speak of source columns, and a declared column takes its source's mask along.  What a
plugin's `sink_map` reads of the event and puts elsewhere has left that way.
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
"""Characters of each form; what is shorter may stand in a text by chance."""
_SHORTEST_DATE = 6, 6, 8


def hidden_sources(mapping: TableMapping, policies: Policies, origins: Origins) -> Hidden:
    """A column that is read and that no policy decides on is hidden, too.

    Of what is only looked up by, nothing reaches the target.
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
    """StepError where a hidden column's value stands in a column of `row` not made of it.

    `given` are the source rows of the event; `row` has the columns that a step has changed.  What
    is declared goes by its own policy.
    """
    written = {name: _forms(value) for name, value in row.items() if value}
    for source_row in given:
        for source, own in hidden.items():
            clear = source_row.get(source)
            if not written.keys() - own or clear is None or clear is ABSENT:
                continue
            looked_for = _looked_for(clear)
            for name in written.keys() - own:
                # A MaskedValue that was written as text has its column's name.
                if f"<masked {source}>" in written[name][0] or any(
                    any(map(_stands_in, forms, written[name], shortest))
                    for forms, shortest in looked_for
                ):
                    fault = f"carries {source!r} to column {name!r} unmasked"
                    raise StepError("maps", "sink_map", fault)


def _stands_in(value: str, text: str, shortest: int) -> bool:
    return len(value) >= shortest and (value in text or value[::-1] in text)


def _looked_for(clear: Any) -> list[tuple[_Forms, tuple[int, int, int]]]:
    """The forms of a hidden value: its own, of a mobile number without prefix, of a date by day."""
    found = [(_forms(clear), _SHORTEST)]
    if isinstance(clear, date):
        day = clear.strftime("%d"), clear.strftime("%m"), f"{clear.year:04}"
        orders = [(*day,), (day[1], day[0], day[2]), day[::-1]]
        found += [(("", "", "".join(order)), _SHORTEST_DATE) for order in orders]
    elif (bare := normalize_identifier(text := _text(clear))) != text:
        found.append((_forms(bare), _SHORTEST))
    return found


def _forms(value: Any) -> _Forms:
    """A value's text; its letters and digits, however they are spelled and separated; its digits.

    Times and UUIDs are no text: their digits may hold any short number by chance.
    """
    text = _text(value)
    if isinstance(value, date | time | UUID):
        return text, "", ""
    plain = "".join(map(_plain, normalize("NFKD", _unescaped(text)).casefold()))
    return text, plain, "".join(filter(str.isdecimal, plain))


def _unescaped(text: str) -> str:
    """A text without the escapes of JSON, URLs and HTML."""
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
