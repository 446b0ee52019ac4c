"""Convert names of columns to Avro names, and back.

Avro permits letters, digits and underscores.  The transform of capture (DropDefaults.java) encodes
any other character, a digit at the start, and an underscore that would look like such a code, as
``_u`` and four hexadecimal digits.  Unlike with Debezium's own adjustment, different names stay
different, and a name that Avro permits stays unchanged.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"(?:_u[0-9a-f]{4})+")
_ADJUSTED = re.compile(r"[^A-Za-z0-9_]|^[0-9]|_(?=u[0-9a-f]{4})")


def adjust_name(name: str) -> str:
    """Return the name that capture gives a column's field."""
    return _ADJUSTED.sub(lambda found: _codes(found[0]), name)


def restore_name(name: str) -> str:
    """Return the column's name of a field."""
    return _CODE.sub(_restored, name) if "_u" in name else name


def _codes(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"_u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _restored(found: re.Match[str]) -> str:
    units = bytes.fromhex(found[0].replace("_u", ""))
    try:
        return units.decode("utf-16-be")
    except UnicodeDecodeError:  # half of a surrogate pair, which capture never writes
        return found[0]
