"""Mask values: pure functions that make a column's value safe to show.

A mask takes a value and returns the value to store. It never raises, keeps NULL as NULL (apart from
`constant`, which hides that there was no value), reads any other value by its text, and changes
nothing when applied a second time. It shows at most half of a value, and hides a short one
completely. A factory is called once per column, its mask once per value.
"""

from __future__ import annotations

import ast
import hmac
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from ..errors import PolicyError
from .identifiers import normalize_identifier
from .scrub import scrub_contacts, scrub_contacts_and_income
from .structured_masks import mask_json, show_code, show_link

MaskFunction = Callable[[Any], Any]

_MOST_SHOWN = 4
_SHORTEST_KEY = 32
# PostgreSQL's text holds no NUL, so no value can look like a tagged digest.
_TAG_DOMAIN = b"\0seal\0"
_STARS = re.compile(r"[*Xx#-]+")
_DOMAIN = re.compile(r"(?=.*[^\W\d_])[^\s@,;:<>()\[\]\"\\/*]+", re.DOTALL)
_TAGGED = re.compile(r"[0-9a-f]{64}")
_UNCOUNTED = frozenset({"Mn", "Mc", "Me", "Cc", "Cf", "Zs", "Zl", "Zp"})
_YEAR = re.compile(r"[0-9]{4}(?=-[0-9]{2}-[0-9]{2}(?![0-9]))")


class MaskKind(StrEnum):
    """Apache Ranger's mask types for Hive, as `servicedef-sink.json` lists them."""

    MASK = "MASK"
    SHOW_LAST_4 = "MASK_SHOW_LAST_4"
    SHOW_FIRST_4 = "MASK_SHOW_FIRST_4"
    HASH = "MASK_HASH"
    NULL = "MASK_NULL"
    NONE = "MASK_NONE"
    DATE_SHOW_YEAR = "MASK_DATE_SHOW_YEAR"
    CUSTOM = "CUSTOM"


def _check_shown(count: int) -> None:
    if not 1 <= count <= _MOST_SHOWN:
        raise PolicyError(f"a mask shows 1 to {_MOST_SHOWN} characters, not {count}")


def _count_visible(text: str) -> int:
    """Count the characters without combining marks, spaces and invisible ones."""
    if text.isascii() and text.isprintable():
        return len(text) - text.count(" ")
    return sum(unicodedata.category(char) not in _UNCOUNTED for char in text)


def show_last(count: int, prefix: str) -> MaskFunction:
    """Show the last `count` characters after `prefix`, or none of a value under twice as long."""
    _check_shown(count)
    if not _STARS.fullmatch(prefix):
        raise PolicyError(f"the prefix of show_last is made of * - # x X only, not {prefix!r}")
    hidden = prefix + "*" * count

    def mask(value: Any) -> str | None:
        if value is None:
            return None
        text = (value if value.__class__ is str else str(value)).strip()
        if prefix[0] in "*#" and text.startswith(prefix) and len(text) == len(hidden):
            return text  # already masked, and short if the prefix is short
        return prefix + text[-count:] if _count_visible(text) >= 2 * count else hidden

    return mask


def show_email(value: Any) -> str | None:
    """Show the first character and the domain: `u***@example.com`; any other text is hidden.

    A local part of one character is hidden, since its first character would be all of it, and so is
    a domain that holds a number of ten digits or more.
    """
    if value is None:
        return None
    text = (value if value.__class__ is str else str(value)).strip()
    local, _, domain = text.rpartition("@")
    local = local.strip()
    if not local or not _DOMAIN.fullmatch(domain) or scrub_contacts(domain) != domain:
        return "***@***"
    # A star is not alphanumeric, so a second pass leaves a hidden local part as it is.
    first = local[0] if _count_visible(local) > 1 and local[0].isalnum() else ""
    return f"{first}***@{domain}"


def constant(text: str) -> MaskFunction:
    """Replace every value by `text`, NULL too: a NULL would show that there is no value."""
    if not text:
        raise PolicyError("a constant mask needs a text; use MASK_NULL to write NULL")

    def mask(_value: Any) -> str:
        return text

    return mask


def redact() -> MaskFunction:
    """Replace capitals by X, other letters by x, digits by 0; ASCII punctuation stays.

    Unlike Hive's, it covers every script: what is not ASCII becomes X, x or 0.
    """
    table = _RedactTable({code: _redacted(chr(code)) for code in range(128)})

    def mask(value: Any) -> str | None:
        return None if value is None else str(value).translate(table)

    return mask


def show_edge(count: int, *, last: bool) -> MaskFunction:
    """Show the first or last `count` characters, every other one as x, at the same length.

    A value under twice as long is hidden completely.
    """
    _check_shown(count)

    def mask(value: Any) -> str | None:
        if value is None:
            return None
        text = str(value).strip()
        if _count_visible(text) < 2 * count:
            return "x" * len(text)
        covered = "x" * (len(text) - count)
        return covered + text[-count:] if last else text[:count] + covered

    return mask


def keyed_hash(key: bytes) -> MaskFunction:
    """Replace a value by 64 hex digits that only the holder of `key` can compute.

    An unkeyed hash of a 12-digit number could be found by trying all numbers.  The last 16 digits
    are an HMAC of the first 48, so that a second pass recognizes a pseudonym.  Equal numbers and
    equal e-mail addresses have one pseudonym, in any spelling.
    """
    if len(key) < _SHORTEST_KEY:
        raise PolicyError(f"the key of MASK_HASH has less than {_SHORTEST_KEY} bytes")

    def add_tag(digest: bytes) -> str:
        return (digest + hmac.digest(key, _TAG_DOMAIN + digest, "sha256")[:8]).hex()

    def mask(value: Any) -> str | None:
        if value is None:
            return None
        text = str(value)
        if _TAGGED.fullmatch(text):
            own = add_tag(bytes.fromhex(text)[:24])
            if hmac.compare_digest(own, text):
                return text
        identifier = normalize_identifier(text).encode("utf-8", "surrogatepass")
        return add_tag(hmac.digest(key, identifier, "sha256")[:24])

    return mask


def show_year(value: Any) -> Any:
    """Replace a date by the first of January of its year, any other value by NULL."""
    if isinstance(value, datetime):
        return datetime(value.year, 1, 1, tzinfo=value.tzinfo)
    if isinstance(value, date):
        return date(value.year, 1, 1)
    year = _YEAR.match(value) if isinstance(value, str) else None
    return f"{year[0]}-01-01{' BC' if value.endswith('BC') else ''}" if year else None


def to_null(_value: Any) -> None:
    """Replace every value by NULL."""


# What a CUSTOM policy may call, with the types of the arguments that follow {col}; `...` stands for
# more of the last.
FUNCTIONS: Mapping[str, tuple[tuple[Any, ...], Callable[..., MaskFunction]]] = MappingProxyType(
    {
        "show_last": ((int, str), show_last),
        "show_email": ((), lambda: show_email),
        "scrub_contacts": ((), lambda: scrub_contacts),
        "scrub_contacts_and_income": ((), lambda: scrub_contacts_and_income),
        "show_link": ((), lambda: show_link),
        "show_code": ((str,), show_code),
        "mask_json": ((str, ...), lambda *rules: mask_json(rules, _compile_expression)),
    }
)


def compile_mask(
    kind: MaskKind, expression: str | None = None, *, key: bytes | None = None
) -> MaskFunction | None:
    """Return the mask of `kind`, None for MASK_NONE; raise PolicyError for an invalid one.

    `expression` belongs to CUSTOM and `key` to MASK_HASH.
    """
    if kind is MaskKind.CUSTOM:
        return _compile_expression(expression)
    if expression:
        raise PolicyError(f"{kind} takes no valueExpr; use CUSTOM or remove it")
    if kind is MaskKind.HASH:
        if key is None:
            raise PolicyError("MASK_HASH needs a key; set policies.key")
        return keyed_hash(key)
    plain: dict[MaskKind, MaskFunction | None] = {
        MaskKind.MASK: redact(),
        MaskKind.SHOW_LAST_4: show_edge(4, last=True),
        MaskKind.SHOW_FIRST_4: show_edge(4, last=False),
        MaskKind.NULL: to_null,
        MaskKind.NONE: None,
        MaskKind.DATE_SHOW_YEAR: show_year,
    }
    return plain[kind]


def _compile_expression(expression: str | None) -> MaskFunction:
    """Compile `'TEXT'` or `function({col}, literal, ...)`; nothing is ever evaluated."""
    match _parse(expression or ""):
        case ast.Constant(value=str(text)):
            return constant(text)
        case ast.Call(
            func=ast.Name(id=name),
            args=[ast.Set(elts=[ast.Name(id="col")]), *rest],
            keywords=[],
        ) if name in FUNCTIONS:
            types, factory = FUNCTIONS[name]
            values = [node.value for node in rest if isinstance(node, ast.Constant)]
            if len(values) == len(rest) and _are(values, types):
                return factory(*values)
    known = ", ".join(sorted(FUNCTIONS))
    raise PolicyError(
        f"CUSTOM cannot be {expression!r}: write a quoted text, or a call such as "
        f"show_last({{col}}, 4, '****-****-') of one of {known} (see README.md of the policies)"
    )


def _are(values: Sequence[Any], types: tuple[Any, ...]) -> bool:
    """Return whether the arguments have the types that a function takes."""
    found = tuple(map(type, values))
    if types[-1:] == (...,):
        return len(found) >= len(types) - 1 and {*found} == {types[-2]}
    return found == types


def _parse(expression: str) -> ast.expr | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python only warns of an unknown escape such as '\d'
        try:
            return ast.parse(expression.strip(), mode="eval").body
        except (SyntaxError, SyntaxWarning, ValueError, RecursionError, MemoryError):
            return None


def _redacted(char: str) -> str:
    category = unicodedata.category(char)
    if category in {"Lu", "Lt"}:
        return "X"
    if category.startswith("N"):
        return "0"
    return char if char.isascii() and not char.isalpha() else "x"


class _RedactTable(dict[int, str]):
    """Redacts characters: those of ASCII are prepared, others are computed at their first use."""

    def __missing__(self, code: int) -> str:
        return _redacted(chr(code))
