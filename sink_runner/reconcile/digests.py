"""Digests of key ranges on both sides: a range with unchanged digests is not compared again.

They need a key that both databases sort alike and that the mapping copies. The mapping's result
must depend only on the source row and the policies, so it must have no lookup.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from ..batch.plan import BatchPipeline
from ..batch.run_store import KeyCipher
from ..loading import discovery
from ..postgres.catalog import quoted
from ..postgres.session import Connection

_SORTED_ALIKE = ("int2", "int4", "int8", "uuid", "date", "timestamp", "timestamptz", "bytea")
# Two hashes of 64 bits, summed, so that a row that is there twice counts twice.
_DIGEST = """
SELECT count(*), concat_ws('/', sum(hashtextextended(h, 0)), sum(hashtextextended(h, 1)))
FROM (SELECT ROW({columns})::text AS h FROM {table} r{where}) rows
"""
_LOAD = """
SELECT last_key, rows, source_digest, target_digest FROM sink.reconcile_digest
WHERE mapping = %s AND version = %s ORDER BY place
"""
_DELETE = "DELETE FROM sink.reconcile_digest WHERE mapping = %s"
_INSERT = """
INSERT INTO sink.reconcile_digest
  (mapping, place, version, last_key, rows, source_digest, target_digest)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

Bound = Sequence[str] | None
"""A key as text; None where the range is open."""


class Range(NamedTuple):
    """The rows after the previous range, up to and including the key `until`."""

    until: Bound
    rows: int = 0
    source: str | None = None
    """The digest of the source's rows when both sides were equal; None if they were not."""
    target: str | None = None


@dataclass(frozen=True)
class Side:
    """One table: its key columns in the order of the source's key, and the digested columns."""

    table: str
    key: Sequence[str]
    types: Sequence[str]
    columns: Sequence[str]

    def condition(self, after: Bound, until: Bound) -> tuple[str, list[str]]:
        """Return SQL for a row `r` of the range, and its parameters."""
        names = ", ".join(f"r.{quoted(name)}" for name in self.key)
        values = ", ".join(f"%s::{type_}" for type_ in self.types)
        bounds = [(sign, key) for sign, key in ((">", after), ("<=", until)) if key]
        parts = [f"({names}) {sign} ({values})" for sign, _ in bounds]
        return " AND ".join(parts) or "true", [text for _, key in bounds for text in key]

    def digest(self, connection: Connection, after: Bound, until: Bound) -> tuple[int, str]:
        """Return the number of rows in a range and their digest."""
        condition, parameters = self.condition(after, until)
        columns = ", ".join(f"r.{quoted(name)}" for name in self.columns)
        query = _DIGEST.format(columns=columns, table=self.table, where=f" WHERE {condition}")
        ((rows, digest),) = connection.execute(query.encode(), parameters).fetchall()
        return int(rows), str(digest)


@dataclass(frozen=True)
class Digests:
    """The digests of one mapping."""

    mapping: str
    version: str
    source: Side
    target: Side
    keys: KeyCipher

    def load(self, connection: Connection) -> list[Range]:
        """Return the ranges stored for the current version, in order; the last has no bound."""
        found = connection.execute(_LOAD, (self.mapping, self.version)).fetchall()
        ranges = list[Range]()
        for place, (key, rows, *digests) in enumerate(found):
            until = self.keys.read(place, key)
            if key and until is None:  # its encryption key is gone
                break
            ranges.append(Range(until, rows, *digests))
        if not ranges or ranges[-1].until is not None:
            ranges.append(Range(None))
        return ranges

    def save(self, connection: Connection, ranges: Iterable[Range]) -> None:
        rows = [
            (
                self.mapping,
                place,
                self.version,
                self.keys.hide(place, list(one.until)) if one.until else None,
                *one[1:],
            )
            for place, one in enumerate(ranges)
        ]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_DELETE, (self.mapping,))
            cursor.executemany(_INSERT, rows)


def make_digests(
    batch: BatchPipeline, plugins: Sequence[discovery.Plugin], keys: KeyCipher
) -> Digests | None:
    """Return the digests of a mapping; None if they could miss a change."""
    mapping, source = batch.mapping, batch.source
    target, copied = batch.deletions.keys, batch.deletions.keys.source_columns
    has_lookups = any(column.lookups for column in mapping.columns)
    if mapping.query or mapping.derived or has_lookups or batch.may_change_keys:
        return None
    if copied is None or {*copied} != {*source.format.key} or target.declared.shared_target:
        return None
    names = [target.names[copied.index(name)] for name in source.format.key]
    types = {column.name: column.pg for column in target.columns}
    pairs = [
        (source.catalog.columns[one].pg, types[other])
        for one, other in zip(source.format.key, names, strict=True)
    ]
    if not all(a.is_builtin(*_SORTED_ALIKE) and b.is_builtin(a.name) for a, b in pairs):
        return None
    read = dict.fromkeys([*source.format.key, *source.format.types])
    written = [column.name for column in target.columns]
    return Digests(
        mapping=batch.name,
        version=_version(batch, plugins, written),
        source=Side(
            source.catalog.sql_name, source.format.key, [a.unbound_cast for a, _ in pairs], [*read]
        ),
        target=Side(target.table, names, [b.unbound_cast for _, b in pairs], written),
        keys=keys,
    )


def _version(
    batch: BatchPipeline, plugins: Sequence[discovery.Plugin], written: Sequence[str]
) -> str:
    """Return a checksum of everything but the source row that the mapping's result depends on."""
    masking = batch.pipeline.prepare([]).masking
    parts = [
        version("sink-runner"),
        sorted((plugin.name, plugin.version) for plugin in plugins),
        batch.source.format.number,
        list(written),
        masking and masking.digest,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
