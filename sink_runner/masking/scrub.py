"""Scrub free text: take numbers, e-mails and income bands out of what people or models wrote."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***MASKED***"
CONFIDENTIAL = "CONFIDENTIAL"

_REACH = 5  # words from a level to the word "income" that it belongs to

# Ten digits and more, of any script, in one piece or grouped: mobile, Aadhaar, virtual id, card.
# A time stamp and an application's number (APP-20260131-000042) look like one but are not.
_NUMBER = re.compile(
    r"""(?<!\d)
    (?!\d{4}-\d\d-\d\d\ \d\d:)
    (?!\d{8}-\d{6}(?![\s.\u2010-\u2015-]?\d))
    \d(?:[\s.\u2010-\u2015-]?\d){9,}""",
    re.VERBOSE,
)
# Possessive and anchored at the start of a token, or a long text would take quadratic time.
_EMAIL = re.compile(
    r"(?<![^\s@<>(),;:\"])[^\s@<>(),;:\"]++(?:@++[^\s@<>(),;:\"]++)+",
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
    return _EMAIL.sub(HIDDEN, _NUMBER.sub(HIDDEN, text))


def scrub_contacts_and_income(value: Any) -> str | None:
    """Hide contacts, and income bands: VERY_LOW and UNCERTAIN, and LOW to HIGH beside `income`."""
    text = scrub_contacts(value)
    if text is None:
        return None
    text = _BAND.sub(CONFIDENTIAL, text)
    return "".join(_scrub_levels(clause) for clause in _CLAUSE.split(text))


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
