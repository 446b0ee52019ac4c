"""Scrub free text: take numbers, e-mails and income bands out of what people or models wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from .encoded_text import base64_texts, decodings

HIDDEN = "***MASKED***"
CONFIDENTIAL = "CONFIDENTIAL"

_REACH = 5  # words from a level to the word "income" that it belongs to

# What is looked at is the text folded, character by character: digits of every script and style are
# ASCII's, dashes are one dash, blanks but the end of a line are one blank, and what cannot be seen
# (zero width, variation, accents) is this:
_UNSEEN = "\u200b"
# Between the digits of a number may be anything but word characters and a rupee sign, which begins
# the next amount.
_BETWEEN = r"(?:[^\w\u20b9]|_)"
_DAY, _MONTH, _YEAR = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"
_TIME = r"""(?<![0-9]:)(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?
    (?:[ ]?[+-][01][0-9]:?[0-5][0-9])?(?!:[0-9])"""
# A name-based identifier may hold a person's number as its last group, so that needs one of a to f.
_UUID = r"""(?<![\w-])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}(?=[0-9]*+[a-fA-F])[0-9a-fA-F]{12}
    (?![\w-])"""
# Dates, times of day, an application's number (APP-20260131-000042) and UUIDs look like numbers of
# a person but are not.
_INNOCENT = rf"""(?:{_UUID}|(?<![0-9])(?:
    (?:{_YEAR}-{_MONTH}-{_DAY}|{_DAY}(?:-{_MONTH}-|/{_MONTH}/|\.{_MONTH}\.){_YEAR})(?:T{_TIME})?
    |{_TIME}|{_YEAR}{_MONTH}{_DAY}-[0-9]{{6}})(?![0-9]))"""
_NEXT = rf"{_BETWEEN}*+{_INNOCENT}"
_INNOCENTS = rf"{_INNOCENT}(?:{_NEXT}){{0,8}}+(?:(?={_NEXT})|(?!{_BETWEEN}*+[0-9]))"
# Ten digits and more, in one piece or grouped: mobile, Aadhaar, virtual id, card.
_NUMBER = re.compile(
    rf"""(?P<kept>{_INNOCENTS})
    |(?<![0-9])[0-9](?:[0-9]|{_BETWEEN}++(?!{_INNOCENTS})[0-9]){{9,}}""",
    re.VERBOSE,
)
# Possessive and anchored at the start of a token, or a long text would take quadratic time.  The
# point that ends a sentence stays.
_PART = r"[^\s@<>(),;:\"]"
_EMAIL = re.compile(rf"(?<!{_PART}){_PART}++(?:@++{_PART}++)*@++{_PART}*(?!\.){_PART}")
_LABEL = rf"[\w{_UNSEEN}-]++"
_OPEN, _CLOSE = r"[ \n]{0,2}[(\[{<][ ]{0,2}", r"[ ]{0,2}[)\]}>][ \n]{0,2}"
_DOT = rf"(?:[ \n]{{0,2}}\.|[ ]{{1,2}}\.[ ]{{1,2}}|{_OPEN}(?:dot|\.){_CLOSE}|[ \n]++dot[ \n]++)"
# Behind a point and a blank a sentence begins, but for these.
_TOP = r"(?:com|co|in|org|net|gov|nic|edu|ac|info|biz)(?!\w)"
_ENDING = rf"\.[ \n]{{1,2}}{_TOP}"
# An e-mail that was taken apart by a person or by a line's end.  "at" alone is one only where "dot"
# is spelled as well, or behind it the name of a mail service.
_SPELLED = re.compile(
    rf"""(?<![\w.+%{_UNSEEN}-])[\w.+%{_UNSEEN}-]++(?:
    (?:[ \n]{{0,3}}@[ \n]{{0,3}}|{_OPEN}(?:at|@){_CLOSE}
            |[ \n]++at[ \n]the[ \n]rate(?:[ \n]of)?[ \n]++)
        {_LABEL}(?:{_DOT}{_LABEL}|{_ENDING}|[ \n]{{1,2}}{_TOP})+
    |[ \n]++at[ \n]++{_LABEL}(?:[ \n]++dot[ \n]++{_LABEL})+
    |[ \n]++at[ \n]++(?:\w*mail|yahoo|outlook|icloud)[ \n]++{_TOP})""",
    re.VERBOSE | re.IGNORECASE,
)
_BAND = re.compile(
    r"VERY_LOW|(?<![^\W_])(?:very[\s-]*low|uncertain)(?![^\W_])",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"([.;!?\n])")
_WORD = re.compile(r"[^\W_]+")
_LEVELS = frozenset({"low", "medium", "high"})


def scrub_contacts(value: Any) -> str | None:
    """Hide every number of ten digits or more and every e-mail, in clear or in an encoding.

    The rest of the text stays.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    spans = [span for decoded, places in decodings(text) for span in _found(decoded, places)]
    spans += [
        (begin, end)
        for begin, end, inside in base64_texts(text)
        if scrub_contacts(inside) != inside
    ]
    return _hide(text, spans)


def scrub_contacts_and_income(value: Any) -> str | None:
    """Hide contacts, and income bands: VERY_LOW and UNCERTAIN, and LOW to HIGH beside `income`."""
    text = scrub_contacts(value)
    if text is None:
        return None
    text = _BAND.sub(CONFIDENTIAL, text)
    return "".join(_scrub_levels(clause) for clause in _CLAUSE.split(text))


def _found(decoded: str, places: Sequence[int]) -> list[tuple[int, int]]:
    """Return where numbers and e-mails begin and end; `places` are those of the characters."""
    ascii_only = decoded.isascii()
    folded = decoded.translate(_BLANKS) if ascii_only else "".join(map(_folded, decoded))
    return [
        (places[found.start()], places[found.end()])
        for pattern in (_NUMBER, _SPELLED, _EMAIL)
        for found in pattern.finditer(folded)
        if found.groupdict().get("kept") is None
    ]


def _hide(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Hide the spans; those that overlap, as a number in an e-mail's local part, as one."""
    parts: list[str] = []
    end = 0
    for first, last in sorted(spans):
        if first >= end:
            parts += [text[end:first], HIDDEN]
        end = max(end, last)
    return "".join([*parts, text[end:]])


@lru_cache(maxsize=2048)
def _folded(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Lo" and unicodedata.numeric(char, -1) in _DIGITS:  # a Han digit
        return str(int(unicodedata.numeric(char)))
    if category[0] == "N":
        return str(unicodedata.digit(char, 0))
    if category in {"Mn", "Mc", "Me", "Cf"} or char in _FILLERS:
        return _UNSEEN
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    if char.isspace() or char == "\N{BRAILLE PATTERN BLANK}":
        return char if char == "\n" else " "
    plain = unicodedata.normalize("NFKC", char)
    return _DOTS.get(char, plain if len(plain) == 1 else char)


# All that folding changes of ASCII.
_BLANKS = {code: " " for code in range(128) if chr(code).isspace() and code != ord("\n")}
_DIGITS = frozenset(range(10))
_FILLERS = frozenset("\u3164\uffa0\u115f\u1160")
_DOTS = {"\u3002": ".", "\uff61": ".", "\u2024": "."}


def _scrub_levels(clause: str) -> str:
    """Each hidden word leaves one word, so distances, and with them a second pass, are the same."""
    words = list(_WORD.finditer(clause))
    speaks = ["income" in word[0].lower() for word in words]
    parts, end = [], 0
    for at, word in enumerate(words):
        if word[0].lower() in _LEVELS and any(speaks[max(at - _REACH, 0) : at + _REACH + 1]):
            parts += [clause[end : word.start()], CONFIDENTIAL]
            end = word.end()
    return "".join([*parts, clause[end:]])
