"""Normalize the spelling of identifiers, so that equal ones get equal pseudonyms."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Me", "Cf"})
_FEWEST, _MOST = 10, 19  # digits of a mobile number, of a card
_NUMBER = re.compile(rf"(?!-)(?:[-\s.,/_()+]*[0-9]){{{_FEWEST},{_MOST}}}[-\s.()]*")
# An amount, a coordinate, an IPv4 address, a date with a time, or an interval.
_OTHER_NUMBER = re.compile(
    r"-?[0-9]+\.[0-9]+(?:[,\s]+-?[0-9]+\.[0-9]+)?|[0-9]+,[0-9]{2}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]\b.*"
)
# The code of India or the trunk prefix, or both, before ten digits like those of a mobile number.
_MOBILE = re.compile(r"(?:0{0,2}91)?0?([6-9][0-9]{9})")
_EMAIL = re.compile(r"[^\s@]+\s*@\s*[^\s@]+")
_SCHEMES = re.compile(r"^(?:(?:tel|sms|mailto):\s*)+", re.IGNORECASE)


def normalize_identifier(text: str) -> str:
    """Return the digits of a number of 10 to 19 digits, an e-mail in lower case, or `text` itself.

    Numbers may be grouped by blanks, dashes, dots, commas, slashes or brackets, have digits of any
    script, and follow `tel:`.  A mobile number of India is reduced to its ten digits, without
    `+91`, `0091`, `91` or `0`.
    """
    plain = text if text.isascii() else _compatible(text)
    plain = _SCHEMES.sub("", plain.strip(), count=1)
    if _NUMBER.fullmatch(plain) and not _OTHER_NUMBER.fullmatch(plain):
        digits = re.sub(r"[^0-9]", "", plain)
        mobile = _MOBILE.fullmatch(digits)
        return mobile[1] if mobile else digits
    return re.sub(r"\s", "", plain.casefold()) if _EMAIL.fullmatch(plain) else text


def _compatible(text: str) -> str:
    """Return the text in compatibility form, with ASCII digits, without invisible characters."""
    return "".join(
        _plain(char)
        for char in unicodedata.normalize("NFKC", text)
        if unicodedata.category(char) not in _UNSEEN and not "\ufe00" <= char <= "\ufe0f"
    )


def _plain(char: str) -> str:
    if unicodedata.category(char) == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    number = unicodedata.numeric(char, -1)  # also of Han, which has no decimal digits
    return str(int(number)) if number in range(10) else char
