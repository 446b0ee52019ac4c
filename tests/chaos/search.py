"""Looks for values in all that a run has produced, as they are and as a program may write them."""

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
_THREES = 3


@dataclass(frozen=True, slots=True)
class Find:
    """A value that is where it must not be; says which and how, and never the value."""

    where: str
    name: str
    form: str

    def __str__(self) -> str:
        return f"{self.where}: {self.name} ({self.form})"


class Search:
    """Knows the secrets by names of their own."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._needles = [
            (name, form, needle)
            for name, value in secrets.items()
            for needle, form in _plainest(forms(value)).items()
        ]

    def in_bytes(self, where: str, content: bytes) -> list[Find]:
        return [
            Find(where, name, form) for name, form, needle in self._needles if needle in content
        ]

    def in_files(self, folder: Path, without: Collection[str] = ()) -> Iterator[Find]:
        """Every file below; `without` are folders, by their place in it."""
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            left_out = {str(one) for one in (place, *place.parents)} & set(without)
            if path.is_file() and not left_out:
                # Kafka's indexes are made at their full size; one zero may end a text in UTF-16.
                yield from self.in_bytes(str(place), path.read_bytes().rstrip(b"\0") + b"\0")

    def in_database(
        self, connection: psycopg.Connection, allowed: Collection[str] = ()
    ) -> Iterator[Find]:
        """Every column of every row of every table, but those where the values belong."""
        for schema, table in connection.execute(_TABLES).fetchall():
            name = f"{schema}.{table}"
            if name in allowed:
                continue
            query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
            with connection.cursor().copy(query) as rows:
                content = b"".join(bytes(row) for row in rows)
            yield from self.in_bytes(f"{connection.info.dbname} {name}", content)


def forms(value: str) -> dict[str, bytes]:
    """The ways in which a value is still told: some are no mask, and some only look like one."""
    raw = value.encode()
    found = {
        "plain": raw,
        "backwards": raw[::-1],
        "UTF-16": value.encode("utf-16-le"),
        "UTF-16 big": value.encode("utf-16-be"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "in groups by -": _grouped(value, "-"),
        "in groups by blanks": _grouped(value, " "),
        "as a URL": quote(value, safe="").encode(),
    }
    for name in _DIGESTS:
        found[name] = hashlib.new(name, raw).hexdigest().encode()
    for at in range(_THREES):
        found[f"base64 at {at}"] = _inside_base64(raw, at)
    return found


def _plainest(found: Mapping[str, bytes]) -> dict[bytes, str]:
    """What each text is called; of two forms that look alike the first."""
    return {text: form for form, text in reversed(found.items())}


def _grouped(value: str, by: str) -> bytes:
    return by.join(value[at : at + 4] for at in range(0, len(value), 4)).encode()


def _inside_base64(raw: bytes, at: int) -> bytes:
    """What of it is the same whatever stands before and after."""
    first = -(-at * 8 // 6) if at else 0
    encoded = base64.b64encode(bytes(at) + raw)
    whole = (at + len(raw)) * 8 // 6
    return encoded[first + (1 if at else 0) : whole]
