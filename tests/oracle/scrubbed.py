"""What may not survive in a free text, whatever it is replaced by.

Readings of what the specification leaves open: digits that stand in a longer number are not a
number of 10 or 12; a code is next to the word income if nothing but blanks, marks, "is", "of" or
"band" is between them. What stands in for a value is open. A mark that ends an address may go with
it, and so may a level of a text that speaks of income elsewhere; all else must be the same.
"""

import re

_PERSONAL = r"(?<!\d)(?:\d{12}|\d{10})(?!\d)|[\w.%+-]+@[\w-]+(?:\.[\w-]+)*"
_GAP = r"(?:[\s:=-]|\b(?:is|of|band)\b)*"
_BAND = r"(?:VERY_LOW|LOW|MEDIUM|HIGH|UNCERTAIN)"
_LEVEL = r"\b(?:LOW|MEDIUM|HIGH)\b"
_CODES = (
    rf"(?i:income){_GAP}\b{_BAND}\b|\b{_BAND}\b{_GAP}\b(?i:income)"
    r"|(?<![A-Z_])(?:VERY_LOW|UNCERTAIN)(?![A-Z_])"
)
COMMENT = re.compile(_PERSONAL)
ALERT = re.compile(f"{_PERSONAL}|{_CODES}")


def agrees(original: str | None, found: str | None, forbidden: re.Pattern[str]) -> bool:
    """Whether `found` is the text without what is forbidden, and nothing else is missing."""
    if original is None or found is None:
        return original is found
    levels = _LEVEL if "income" in original.lower() else "(?!)"
    gone = re.compile(rf"(?:{forbidden.pattern})[.,;:!?]?|{levels}")
    kept = map(re.escape, gone.split(original))
    return not forbidden.search(found) and bool(re.fullmatch(".*?".join(kept), found, re.DOTALL))
