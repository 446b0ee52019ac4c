"""Scrub free text: take numbers, e-mails and income bands out of what people or models wrote."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

HIDDEN = "***MASKED***"
CONFIDENTIAL = "CONFIDENTIAL"

_REACH = 5  # words from a level to the word "income" that it belongs to

# What is looked at is the text folded, character by character: digits of every script and style are
# ASCII's, dashes are one dash, blanks but the end of a line are one blank, and what nobody can see
# (zero width, variation, accents) is this:
_UNSEEN = "\u200b"
_GAP = rf"(?:{_UNSEEN}*+[\s.\-_/\\()\[\]~|*+=#'\"\u2022\u00b7]){{0,8}}{_UNSEEN}*+"
_DAY, _MONTH, _YEAR = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"

# Ten digits and more, in one piece or grouped: mobile, Aadhaar, virtual id, card.  A time stamp and
# an application's number (APP-20260131-000042) look like one but are not.  A comma or a colon joins
# groups of four and more only, or amounts and times of day would be numbers.
_NUMBER = re.compile(
    rf"""(?<![0-9])(?:
    (?P<kept>{_YEAR}-{_MONTH}-{_DAY}[ T,]{{1,2}}(?:[01][0-9]|2[0-3]):[0-5][0-9](?![0-9])
        |{_YEAR}{_MONTH}{_DAY}-[0-9]{{6}}(?!{_GAP}[0-9]))
    |[0-9](?:(?:{_GAP}|(?<=[0-9]{{4}})(?:,[ ]?|[:;])(?=[0-9]{{4}}))[0-9]){{9,}})""",
    re.VERBOSE,
)
# Possessive and anchored at the start of a token, or a long text would take quadratic time.
_EMAIL = re.compile(
    r"(?<![^\s@<>(),;:\"])[^\s@<>(),;:\"]++(?:@++[^\s@<>(),;:\"]++)+",
)
_LABEL = rf"[\w{_UNSEEN}-]++"
_OPEN, _CLOSE = r"[ \n]{0,2}[(\[{<][ ]{0,2}", r"[ ]{0,2}[)\]}>][ \n]{0,2}"
_DOT = rf"(?:[ \n]{{0,2}}\.|[ ]{{1,2}}\.[ ]{{1,2}}|{_OPEN}(?:dot|\.){_CLOSE}|[ \n]++dot[ \n]++)"
# Behind a point and a blank a sentence begins, but for these.
_ENDING = r"\.[ \n]{1,2}(?:com|co|in|org|net|gov|nic|edu|ac|info|biz)(?!\w)"
# An e-mail that somebody took apart, or that a line's end did.  "at" alone is one only where "dot"
# is spelled as well.
_SPELLED = re.compile(
    rf"""(?<![\w.+%{_UNSEEN}-])[\w.+%{_UNSEEN}-]++(?:
    (?:[ \n]{{0,3}}@[ \n]{{0,3}}|{_OPEN}(?:at|@){_CLOSE}
            |[ \n]++at[ \n]the[ \n]rate(?:[ \n]of)?[ \n]++)
        {_LABEL}(?:{_DOT}{_LABEL}|{_ENDING})+
    |[ \n]++at[ \n]++{_LABEL}(?:[ \n]++dot[ \n]++{_LABEL})+)""",
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
    """Hide every number of ten digits or more and every e-mail; the rest of the text stays."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    # Numbers first: a number that ends in an e-mail's local part is hidden whole.
    folded = text.translate(_BLANKS) if text.isascii() else "".join(map(_folded, text))
    for pattern in (_NUMBER, _SPELLED, _EMAIL):
        text, folded = _hide(pattern, text, folded)
    return text


def scrub_contacts_and_income(value: Any) -> str | None:
    """Hide contacts, and income bands: VERY_LOW and UNCERTAIN, and LOW to HIGH beside `income`."""
    text = scrub_contacts(value)
    if text is None:
        return None
    text = _BAND.sub(CONFIDENTIAL, text)
    return "".join(_scrub_levels(clause) for clause in _CLAUSE.split(text))


def _hide(pattern: re.Pattern[str], text: str, folded: str) -> tuple[str, str]:
    """Hide what the folded text matches, in both; folding changes no place."""
    parts: list[str] = []
    folds: list[str] = []
    end = 0
    for found in pattern.finditer(folded):
        if found.groupdict().get("kept") is None:
            parts += [text[end : found.start()], HIDDEN]
            folds += [folded[end : found.start()], HIDDEN]
            end = found.end()
    return "".join([*parts, text[end:]]), "".join([*folds, folded[end:]])


@lru_cache(maxsize=2048)
def _folded(char: str) -> str:
    category = unicodedata.category(char)
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
