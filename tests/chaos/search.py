"""Search everything that a run has produced for values, in plain text and in common encodings."""

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

_TABLES = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE relkind IN ('r', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema')
               AND relpersistence <> 't' ORDER BY 1, 2"""
_DIGESTS = ("md5", "sha1", "sha256", "sha512")
_BASE64_BYTES = 3  # base64 encodes groups of three bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that contains a secret, by the secret's name; never the secret itself."""

    place: str
    name: str
    encoding: str

    def __str__(self) -> str:
        return f"{self.place}: {self.name} ({self.encoding})"


class Search:
    """Finds secrets, which have names so that a finding can be reported."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._needles = [
            (name, encoding, needle)
            for name, value in secrets.items()
            for needle, encoding in _names_by_needle(encode(value)).items()
        ]

    def find_in_bytes(self, place: str, content: bytes) -> list[Finding]:
        return [
            Finding(place, name, encoding)
            for name, encoding, needle in self._needles
            if needle in content
        ]

    def find_in_files(self, folder: Path, excluded: Collection[str] = ()) -> Iterator[Finding]:
        """Search every file below a folder but those in `excluded`, which are relative paths."""
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            is_excluded = {str(part) for part in (place, *place.parents)} & set(excluded)
            if path.is_file() and not is_excluded:
                # Kafka preallocates its index files with zeros.  Keep one: it may belong to UTF-16.
                yield from self.find_in_bytes(str(place), path.read_bytes().rstrip(b"\0") + b"\0")

    def find_in_database(
        self, connection: psycopg.Connection, allowed: Collection[str] = ()
    ) -> Iterator[Finding]:
        """Search every column of every table but the `allowed` ones, where the secrets belong."""
        for schema, table in connection.execute(_TABLES).fetchall():
            name = f"{schema}.{table}"
            if name in allowed:
                continue
            query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
            with connection.cursor().copy(query) as rows:
                content = b"".join(bytes(row) for row in rows)
            yield from self.find_in_bytes(f"{connection.info.dbname} {name}", content)


def encode(value: str) -> dict[str, bytes]:
    """Return the encodings, digests included, that would reveal a value: bytes by name."""
    raw = value.encode()
    encodings = {
        "plain": raw,
        "reversed": raw[::-1],
        "UTF-16": value.encode("utf-16-le"),
        "UTF-16 big-endian": value.encode("utf-16-be"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "groups joined by -": _group(value, "-"),
        "groups joined by blanks": _group(value, " "),
        "URL": quote(value, safe="").encode(),
    }
    for name in _DIGESTS:
        encodings[name] = hashlib.new(name, raw).hexdigest().encode()
    for offset in range(_BASE64_BYTES):
        encodings[f"base64 at {offset}"] = _encode_inside_base64(raw, offset)
    return encodings


def _names_by_needle(encodings: Mapping[str, bytes]) -> dict[bytes, str]:
    """Return the name of each encoding by its bytes; equal bytes get the first name."""
    return {text: name for name, text in reversed(encodings.items())}


def _group(value: str, separator: str) -> bytes:
    return separator.join(value[at : at + 4] for at in range(0, len(value), 4)).encode()


def _encode_inside_base64(raw: bytes, offset: int) -> bytes:
    """Return the base64 characters that do not depend on the bytes before and after.

    `offset` is the position of the value in its group of three bytes.
    """
    first = -(-offset * 8 // 6) if offset else 0
    encoded = base64.b64encode(bytes(offset) + raw)
    end = (offset + len(raw)) * 8 // 6
    return encoded[first + (1 if offset else 0) : end]
