"""Mask structured values: JSON by path, links, codes.

As those of `masks`, these masks keep NULL, never raise, and change nothing the second time.  A
value without the structure is hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from ..errors import PolicyError
from .scrub import scrub_contacts

MaskFunction = Callable[[Any], Any]

_PATH = re.compile(r"\$((?:\.[\w-]+|\[\*\]|\['[^']+'\])*)(?:\s*=\s*(.+))?", re.DOTALL)
_STEP = re.compile(r"\.([\w-]+)|\['([^']+)'\]|(\[\*\])")
_ITEMS = ("items",)  # no key of an object is a tuple
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
_MOST_DIGITS = 4
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LINK = re.compile(r"(?:(https?)://)?([^/?#]*)(/[^?#]*)?.*", re.IGNORECASE | re.DOTALL)
_DROPPED = object()


# -- JSON -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    """The rule of a path: the mask of a scalar, and the nodes of members and items."""

    mask: MaskFunction | None = None
    inner: dict[Any, _Node] = field(default_factory=dict)

    def apply(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, dict):
            kept = {name: self.inner[name].apply(it) for name, it in value.items()
                    if name in self.inner}  # fmt: skip
            named = self.inner.keys() - {_ITEMS}
            return {k: v for k, v in kept.items() if v is not _DROPPED} if named else _DROPPED
        if isinstance(value, list):
            if _ITEMS not in self.inner:
                return _DROPPED
            items = map(self.inner[_ITEMS].apply, value)
            return [item for item in items if item is not _DROPPED]
        return _DROPPED if self.mask is None else self.mask(value)


def mask_json(rules: Iterable[str], compiled: Callable[[str], MaskFunction]) -> MaskFunction:
    """Keep the scalars at the paths of `rules` and drop everything else.

    A rule is a path (`$.a.b`, `$[*].c`, `$['any key']`), or `PATH = EXPRESSION` with a mask of its
    own, which `compiled` reads.  Without one, numbers of ten digits and e-mails are hidden.
    """
    root = _Node()
    for rule in rules:
        found = _PATH.fullmatch(rule.strip())
        if found is None:
            raise PolicyError(f"mask_json: {rule!r} is not a path such as '$.a.b' or '$[*].c'")
        node = root
        for name, quoted, _ in _STEP.findall(found[1]):
            node = node.inner.setdefault(name or quoted or _ITEMS, _Node())
        if node.mask is not None:
            raise PolicyError(f"mask_json: two rules for path ${found[1]}")
        node.mask = compiled(found[2]) if found[2] else _scrubbed

    def mask(value: Any) -> Any:
        is_text = isinstance(value, str | bytes)
        try:
            kept = root.apply(json.loads(value, parse_float=Decimal) if is_text else value)
            if kept is None or kept is _DROPPED:
                return None
            return _written(kept) if is_text else kept
        except (ValueError, RecursionError):
            return None

    return mask


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return value if _UUID.fullmatch(value) else scrub_contacts(value)
    if isinstance(value, bool):
        return value
    whole = format(Decimal(str(value)), "f").partition(".")[0]
    return value if scrub_contacts(whole) == whole else None


def _written(value: Any) -> str:
    """Return JSON text, with every digit of its numbers."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            names = (json.dumps(name, ensure_ascii=False) for name in value)
            members = (f"{n}:{_written(v)}" for n, v in zip(names, value.values(), strict=True))
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(map(_written, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


# -- links and codes --------------------------------------------------------------------------


def show_link(value: Any) -> str | None:
    """Show scheme, host and path of a link: query, fragment and user are cut off.

    A path with an e-mail or a number of ten digits, of which the port may be a part, is cut off,
    too.  A value that is neither http(s) nor a path becomes NULL.
    """
    found = None if value is None else _LINK.fullmatch(str(value).strip())
    if found is None:
        return None
    scheme, host, path = found[1], found[2].rpartition("@")[2], found[3] or ""
    if bool(scheme) != bool(host) or path.startswith("//") or _has_contact(host):
        return None
    start = f"{scheme}://{host}" if scheme else ""
    return start + ("/" if _has_contact(start + path) else path) or None


def _has_contact(text: str) -> bool:
    plain = _UUID.sub("", unquote(unquote(text)))
    return "@" in plain or scrub_contacts(plain) != plain


def show_code(other: str) -> MaskFunction:
    """Show a code such as BENEFIT_EXPIRY: capitals, underscores, at most four digits.

    Anything else becomes `other`.
    """
    if not _is_code(other):
        raise PolicyError(f"show_code: {other!r} must be capitals and underscores")

    def mask(value: Any) -> str | None:
        if value is None:
            return None
        text = str(value).strip()
        return text if _is_code(text) else other

    return mask


def _is_code(text: str) -> bool:
    return bool(_CODE.fullmatch(text)) and sum(c.isdigit() for c in text) <= _MOST_DIGITS
