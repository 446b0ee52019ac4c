"""Check that personal values were removed from a free text and that the rest was kept.

The specification leaves these points open; the oracle reads them as follows:

- Digits inside a longer number are not a number of 10 or 12 digits.
- An income code stands next to the word "income" if only blanks, punctuation, "is", "of" or "band"
  separate them.
- The replacement of a removed value may be any text.
- Punctuation after a removed value may be removed with it. In a text that contains the word
  "income", any level (LOW, MEDIUM, HIGH) may be removed. The rest of the text must be unchanged.
"""

import re

_PERSONAL = r"(?<!\d)(?:\d{12}|\d{10})(?!\d)|[\w.%+-]+@[\w-]+(?:\.[\w-]+)*"
_GAP = r"(?:[\s:=-]|\b(?:is|of|band)\b)*"
_BAND = r"(?:VERY_LOW|LOW|MEDIUM|HIGH|UNCERTAIN)"
_LEVEL = r"\b(?:LOW|MEDIUM|HIGH)\b"
_INCOME_CODES = (
    rf"(?i:income){_GAP}\b{_BAND}\b|\b{_BAND}\b{_GAP}\b(?i:income)"
    r"|(?<![A-Z_])(?:VERY_LOW|UNCERTAIN)(?![A-Z_])"
)
COMMENT_VALUES = re.compile(_PERSONAL)
ALERT_VALUES = re.compile(f"{_PERSONAL}|{_INCOME_CODES}")


def is_redaction(original: str | None, redacted: str | None, forbidden: re.Pattern[str]) -> bool:
    """Whether `redacted` is `original` without its forbidden values and otherwise unchanged."""
    if original is None or redacted is None:
        return original is redacted
    levels = _LEVEL if "income" in original.lower() else "(?!)"
    removable = re.compile(rf"(?:{forbidden.pattern})[.,;:!?]?|{levels}")
    kept = map(re.escape, removable.split(original))
    return not forbidden.search(redacted) and bool(
        re.fullmatch(".*?".join(kept), redacted, re.DOTALL)
    )
