"""Write Python source that reads Avro, with a method for each type: one reads, one skips.

The code it writes has two variables: `buf`, the message, and `p`, the position in it.  It checks
no bounds.  A position only ever grows, so a read past the end either finds no byte to index
or ends at a position that is not the end; the caller compares the two once a message.
A value that the compiled code does not handle (a length of many bytes, a number of ten) is read by
a slower function, or the code fails and fastavro reads the message.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .schema import Array, Enum, Fixed, Map, Primitive, Record, Type, Union

_ONE_BYTE = 0x80
_LAST_CODE = _ONE_BYTE // 2
"""The first index that takes two bytes."""
_NULL = Primitive("null")

SMALL = tuple(None if b & 1 or b >= _ONE_BYTE else b >> 1 for b in range(256))
"""A byte's value as a length, an index or a symbol; None if negative or not the only byte."""

SIGNED = tuple((b >> 1) ^ -(b & 1) for b in range(_ONE_BYTE))
"""A single byte's value as a number."""

BOOL = (False, True)


class MalformedError(Exception):
    """The compiled code found bytes that it does not read."""


def number(buf: bytes, p: int) -> tuple[int, int]:
    """Read a zigzag number of up to nine bytes; the tenth could overflow 64 bits."""
    n = shift = 0
    for b in buf[p : p + 9]:
        p += 1
        if b < _ONE_BYTE:
            n |= b << shift
            return (n >> 1) ^ -(n & 1), p
        n |= (b & 0x7F) << shift
        shift += 7
    raise MalformedError


def length(buf: bytes, p: int) -> tuple[int, int]:
    """Read a length and refuse one that the message cannot hold."""
    n, p = number(buf, p)
    if not 0 <= n <= len(buf) - p:
        raise MalformedError
    return n, p


def pattern(kind: Type) -> bytes | None:
    """Return a regular expression that matches any value of a type, if one can.

    The regex engine steps over a run of numbers three times as fast as Python does.  A string
    has no such expression, as its length is in its bytes.
    """
    match kind:
        case Primitive(name):
            return _PATTERNS.get(name)
        case Fixed(size):
            return b".{%d}" % size
        case Enum(symbols):
            return _codes(len(symbols))
        case Record():
            return _concatenated([field.type for field in kind.fields])
        case Union(branches) if len(branches) <= _LAST_CODE:
            parts = [pattern(branch) for branch in branches]
            found = [re.escape(bytes((2 * i,))) + p for i, p in enumerate(parts) if p is not None]
            return b"(?:" + b"|".join(found) + b")" if len(found) == len(parts) else None
        case _:
            return None


_NUMBER = rb"[\x80-\xff]{0,8}+[\x00-\x7f]"
_PATTERNS = {
    "null": b"",
    "boolean": rb"[\x00\x01]",
    "int": _NUMBER,
    "long": _NUMBER,
    "float": b".{4}",
    "double": b".{8}",
}


def _codes(count: int) -> bytes | None:
    if not 0 < count <= _LAST_CODE:
        return None
    return b"[" + b"".join(b"\\x%02x" % (2 * i) for i in range(count)) + b"]"


def _concatenated(kinds: Sequence[Type]) -> bytes | None:
    parts = [pattern(kind) for kind in kinds]
    found = [part for part in parts if part is not None]
    return b"".join(found) if len(found) == len(parts) else None


class CodeWriter:
    """Python source under construction, and the names that it refers to."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {
            "SMALL": SMALL,
            "SIGNED": SIGNED,
            "BOOL": BOOL,
            "Malformed": MalformedError,
            "number": number,
            "length": length,
            "float_at": struct.Struct("<f").unpack_from,
            "double_at": struct.Struct("<d").unpack_from,
        }
        self._lines: list[str] = []
        self._indent = ""
        self._count = 0

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, *lines: str) -> None:
        self._lines += [self._indent + line for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        self.line(header)
        self._indent += "    "
        yield
        self._indent = self._indent[:-4]

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, prefix: str, value: object) -> str:
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    # -- sequences of values ---------------------------------------------------------------

    def sequence(self, steps: Sequence[tuple[Type, str | None]]) -> None:
        """Read successive values; skip those without a variable."""
        run: list[Type] = []
        for kind, target in steps:
            if target is None and pattern(kind) is not None:
                run.append(kind)
                continue
            self._step_over(run)
            run = []
            if target is None:
                self.skip(kind)
            else:
                self.read(kind, target)
        self._step_over(run)

    def _step_over(self, run: Sequence[Type]) -> None:
        expression = _concatenated(run)
        if expression:
            match = self.constant("run", re.compile(expression, re.DOTALL).match)
            self.line(f"p = {match}(buf, p).end()")

    # -- one value -------------------------------------------------------------------------

    def read(self, kind: Type, target: str, at: int = 0) -> None:
        """Read the value that begins `at` bytes after `p` into a variable."""
        match kind:
            case Primitive("string" | "bytes" as name):
                self._sized(target, at, ".decode()" if name == "string" else "")
            case Primitive("int" | "long"):
                self._number(target, at)
            case Primitive(name):
                self._plain(name, target, at)
            case Fixed(size):
                self.line(f"{target} = buf[p + {at}:p + {at + size}]", f"p += {at + size}")
            case Enum(symbols):
                # A dictionary: a negative number would index a tuple.
                names = self.constant("symbols", dict(enumerate(symbols)))
                self._number("n", at)
                self.line(f"{target} = {names}[n]")
            case Union(branches):
                self._union(branches, target, at)
            case _:
                self.line(*[f"p += {at}"] * bool(at))
                self._compound(kind, target)

    def skip(self, kind: Type, at: int = 0) -> None:
        """Skip the value that begins `at` bytes after `p`."""
        match kind:
            case Primitive("string" | "bytes"):
                self._skip_sized(at)
            case Union(branches):
                self._union(branches, None, at)
            case _:
                self.line(*[f"p += {at}"] * bool(at))
                self._skip_compound(kind)

    def _sized(self, target: str, at: int, convert: str) -> None:
        self.line(f"n = SMALL[buf[{_plus('p', at)}]]")
        with self.block("if n is None:"):
            self.line(f"n, q = length(buf, {_plus('p', at)})")
        with self.block("else:"):
            self.line(f"q = p + {at + 1}")
        self.line("p = q + n", f"{target} = buf[q:p]{convert}")

    def _skip_sized(self, at: int) -> None:
        self.line(f"n = SMALL[buf[{_plus('p', at)}]]")
        with self.block("if n is None:"):
            self.line(f"n, p = length(buf, {_plus('p', at)})", "p += n")
        with self.block("else:"):
            self.line(f"p += n + {at + 1}")

    def _number(self, target: str, at: int) -> None:
        self.line(f"n = buf[{_plus('p', at)}]")
        with self.block("if n < 128:"):
            self.line(f"{target} = SIGNED[n]", f"p += {at + 1}")
        with self.block("else:"):
            self.line(f"{target}, p = number(buf, {_plus('p', at)})")

    def _plain(self, name: str, target: str, at: int) -> None:
        expression, width = {
            "null": ("None", 0),
            "boolean": (f"BOOL[buf[{_plus('p', at)}]]", 1),
            "float": (f"float_at(buf, {_plus('p', at)})[0]", 4),
            "double": (f"double_at(buf, {_plus('p', at)})[0]", 8),
        }[name]
        self.line(f"{target} = {expression}", *[f"p += {at + width}"] * bool(at + width))

    def _union(self, branches: Sequence[Type], target: str | None, at: int) -> None:
        index = self.fresh("u")
        self.line(f"{index} = buf[{_plus('p', at)}]")
        word = "if"
        # Null last: it costs one comparison more, and is the cheapest to read.
        for i, branch in sorted(
            enumerate(branches[:_LAST_CODE]), key=lambda pair: pair[1] == _NULL
        ):
            with self.block(f"{word} {index} == {2 * i}:"):
                self._branch(branch, target, at + 1)
            word = "elif"
        with self.block("else:"):
            self.line("raise Malformed")

    def _branch(self, branch: Type, target: str | None, at: int) -> None:
        if target is not None:
            self.read(branch, target, at)
        elif pattern(branch) is None:
            self.skip(branch, at)
        else:
            self.line(f"p += {at}")
            self._step_over([branch])

    # -- values with parts -----------------------------------------------------------------

    def _compound(self, kind: Type, target: str) -> None:
        match kind:
            case Record():
                parts = [(field, self.fresh("f")) for field in kind.fields]
                self.sequence([(field.type, name) for field, name in parts])
                pairs = ", ".join(f"{field.name!r}: {name}" for field, name in parts)
                self.line(f"{target} = {{{pairs}}}")
            case Array(items):
                found, item = self.fresh("a"), self.fresh("i")
                self.line(f"{found} = []")
                with self._items():
                    self.read(items, item)
                    self.line(f"{found}.append({item})")
                self.line(f"{target} = {found}")
            case Map(values):
                found, key, value = self.fresh("m"), self.fresh("k"), self.fresh("v")
                self.line(f"{found} = {{}}")
                with self._items():
                    self.sequence([(Primitive("string"), key), (values, value)])
                    self.line(f"{found}[{key}] = {value}")
                self.line(f"{target} = {found}")

    def _skip_compound(self, kind: Type) -> None:
        match kind:
            case Record():
                self.sequence([(field.type, None) for field in kind.fields])
            case Array(items):
                with self._items():
                    self.sequence([(items, None)])
            case Map(values):
                with self._items():
                    self.sequence([(Primitive("string"), None), (values, None)])
            case Enum():
                self.read(kind, "_")
            case _:
                self._step_over([kind])

    @contextmanager
    def _items(self) -> Iterator[None]:
        count = self.fresh("c")
        self.line(f"{count}, p = number(buf, p)")
        with self.block(f"while {count}:"):
            with self.block(f"if {count} < 0:"):
                # The size of the block in bytes follows; fastavro ignores it as well.
                self.line(f"{count} = -{count}", "p = number(buf, p)[1]")
            with self.block(f"for _ in range({count}):"):
                yield
            self.line(f"{count}, p = number(buf, p)")


def _plus(name: str, offset: int) -> str:
    return f"{name} + {offset}" if offset else name
