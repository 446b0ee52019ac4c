"""Spell an identifier in one way, so that equal ones get equal pseudonyms."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Me", "Cf"})
_FEWEST, _MOST = 10, 19  # digits of a mobile number, of a card
_NUMBER = re.compile(rf"(?!-)(?:[-\s.,/_()+]*[0-9]){{{_FEWEST},{_MOST}}}[-\s.()]*")
# An amount, a place on the map, an address of IPv4, a date with a time or an interval.
_OTHER_NUMBER = re.compile(
    r"-?[0-9]+\.[0-9]+(?:[,\s]+-?[0-9]+\.[0-9]+)?|[0-9]+,[0-9]{2}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]\b.*"
)
# India's code or the trunk prefix, or both, before ten digits as only mobile numbers begin.
_MOBILE = re.compile(r"(?:0{0,2}91)?0?([6-9][0-9]{9})")
_EMAIL = re.compile(r"[^\s@]+\s*@\s*[^\s@]+")
_SCHEMES = re.compile(r"^(?:(?:tel|sms|mailto):\s*)+", re.IGNORECASE)


def normalize_identifier(text: str) -> str:
    """Return the digits of a number of 10 to 19 digits, an e-mail in lower case, or `text` itself.

    Numbers may be grouped by blanks, dashes, dots, commas, slashes or brackets, be written in any
    script's digits and stand behind `tel:`.
    A mobile number of India is its ten digits, with or without `+91`, `0091`, `91` or `0` before.
    """
    plain = text if text.isascii() else _compatible(text)
    plain = _SCHEMES.sub("", plain.strip(), count=1)
    if _NUMBER.fullmatch(plain) and not _OTHER_NUMBER.fullmatch(plain):
        digits = re.sub(r"[^0-9]", "", plain)
        mobile = _MOBILE.fullmatch(digits)
        return mobile[1] if mobile else digits
    return re.sub(r"\s", "", plain.casefold()) if _EMAIL.fullmatch(plain) else text


def _compatible(text: str) -> str:
    """Compatibility forms, ASCII's digits and dash, and nothing that cannot be seen."""
    return "".join(
        _plain(char)
        for char in unicodedata.normalize("NFKC", text)
        if unicodedata.category(char) not in _UNSEEN and not "\ufe00" <= char <= "\ufe0f"
    )


def _plain(char: str) -> str:
    if unicodedata.category(char) == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    number = unicodedata.numeric(char, -1)  # of Han, too, which has no decimal digits
    return str(int(number)) if number in range(10) else char
