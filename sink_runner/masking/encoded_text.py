"""Decode the encodings within a text, and map each character to its place in the text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from html.entities import html5

# A percent-encoded character (of quoted-printable, too), an HTML entity, an escape of JSON,
# Python or JavaScript.  A line break or a tag counts as a blank.
_H = "[0-9a-fA-F]"
_ENCODED = re.compile(
    rf"""
    (?P<utf8>[%=](?:[0-7]{_H}|[c-fC-F]{_H}(?:[%=][89abAB]{_H}){{1,3}}))
    |(?P<pair>\\u[dD][89abAB]{_H}{{2}}\\u[dD][c-fC-F]{_H}{{2}})
    |[\\%]u(?P<hex_unit>{_H}{{4}})
    |\\u\{{(?P<hex_braced>{_H}{{1,6}})\}}
    |\\x(?P<hex_byte>{_H}{{2}})
    |\\U(?P<hex_long>{_H}{{8}})
    |&\#[xX](?P<hex_entity>{_H}{{1,6}});?
    |&\#(?P<decimal>[0-9]{{1,7}});?
    |&(?P<entity>[A-Za-z]{{2,31}};?)
    |(?P<blank>\\[nrtfv]|=\r?\n)
    """,
    re.VERBOSE,
)
_SIGNS = frozenset("%=&\\")
_TAG = re.compile(r"</?[A-Za-z!][^<>]*+>")
_ROUNDS = 4
_BASE64 = re.compile(r"(?<![\w+/-])(?:[A-Za-z0-9+/]{14,}|[A-Za-z0-9_-]{14,})={0,2}(?![\w+/-])")


def decodings(text: str) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield the text, then the decoded text after each pass, for text that is encoded twice.

    With each come the places in `text` of its characters and of its end.  Markup is yielded with
    its tags, and with blanks in place of them.
    """
    places: Sequence[int] = range(len(text) + 1)
    for _ in range(_ROUNDS):
        yield text, places
        if "<" in text:
            yield _TAG.sub(lambda tag: " " * len(tag[0]), text), places
        decoded, starts = _decode_once(text)
        if decoded == text:
            break
        text, places = decoded, [places[start] for start in starts]


def base64_texts(text: str) -> list[tuple[int, int, str]]:
    """Return begin, end and decoded text of each base64 encoding of a text."""
    found = []
    for token in _BASE64.finditer(text):
        raw = token[0].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
        try:
            decoded = base64.b64decode(raw + "=" * (-len(raw) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        found.append((*token.span(), decoded))
    return found


def _decode_once(text: str) -> tuple[str, list[int]]:
    parts: list[str] = []
    places: list[int] = []
    end = 0
    if _SIGNS.isdisjoint(text):
        return text, places
    for found in _ENCODED.finditer(text):
        char = _character(found)
        if char is None:
            continue
        parts += [text[end : found.start()], char]
        places += [*range(end, found.start()), found.start()]
        end = found.end()
    parts.append(text[end:])
    return "".join(parts), [*places, *range(end, len(text) + 1)]


def _character(found: re.Match[str]) -> str | None:
    """Return the encoded character; None for a text that only resembles an encoding."""
    kind, value = str(found.lastgroup), found[str(found.lastgroup)]
    try:
        if kind == "utf8":
            char = bytes.fromhex(re.sub("[%=]", "", value)).decode()
        elif kind == "pair":
            char = bytes.fromhex(value.replace(r"\u", "")).decode("utf-16-be")
        elif kind == "entity":
            char = html5.get(value) or html5.get(f"{value.lower().rstrip(';')};", "")
        elif kind == "blank":
            char = " "
        else:
            char = chr(int(value, 10 if kind == "decimal" else 16))
    except (ValueError, OverflowError):
        return None
    return char if len(char) == 1 else None
