"""Find the keys by which the runner's tables may store data of a person, for one mapping.

The runner's tables identify a row by its source key, its target key, or a hash of one of them.  If
the person is given by another column, the keys are looked up in source, target and candidates.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg

from ..loading.mapping_checks import candidate_name
from ..plugin import Table, TableMapping
from ..postgres.catalog import TableCatalog, qualified, quoted, read_table
from ..postgres.session import Connection
from ..writer.key_hashing import KeyText

Key = tuple[str, ...]
MIN_PART_LENGTH = 8
"""The least length of a value to search within texts: shorter ones are part of too many."""


def mentions(text: str, value: str) -> bool:
    """Return whether a text is the value or, if that is long enough, contains it."""
    return text == value or (len(value) >= MIN_PART_LENGTH and value in text)


def mentions_sql(text: str) -> str:
    """Return `mentions` as SQL, with the parameter ``value``."""
    return (
        f"({text} = %(value)s::text OR (length(%(value)s::text) >= {MIN_PART_LENGTH} "
        f"AND strpos({text}, %(value)s::text) > 0))"
    )


def key_texts(key: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a source key as texts, in the order in which keys are stored."""
    return {name: str(value) for name, value in sorted(key.items())}


@dataclass
class Person:
    """The keys of a mapping's rows with the value in one of the columns `subjects`."""

    name: str
    mapping: TableMapping
    target: TableCatalog
    subjects: Collection[str]
    value: str
    source_keys: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Each source key as column texts, by its JSON text."""
    target_keys: set[Key] = field(default_factory=set)
    candidate_catalog: TableCatalog | None = None
    """The catalog of the candidate table, if the target is derived."""

    @cached_property
    def source_columns(self) -> list[str]:
        """The source columns that are searched for the value."""
        copied = [c.sources[0] for c in self._copied.values() if c.name in self.subjects]
        named = [name for name in self.mapping.source_columns if name in self.subjects]
        return list(dict.fromkeys([*named, *copied]))

    @cached_property
    def target_columns(self) -> list[str]:
        """The columns of the target, or of the candidates, that are searched for the value."""
        return [
            column.name
            for column in self.mapping.columns
            if column.name in self.subjects or {*column.sources} & {*self.source_columns}
        ]

    @property
    def key(self) -> tuple[str, ...]:
        return (self.mapping.derived or self.mapping).key

    @property
    def candidates(self) -> str | None:
        """The quoted name of the candidate table."""
        if self.mapping.derived is None:
            return None
        return qualified("sink", candidate_name(self.name))

    @cached_property
    def _copied(self) -> dict[str, Any]:
        columns = self.mapping.columns
        return {c.name: c for c in columns if len(c.sources) == 1 and not (c.lookups or c.convert)}

    # -- finding keys ----------------------------------------------------------------------------

    def add_row(self, key: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        """Add the keys of a source row."""
        if key is not None:
            texts = key_texts(key)
            self.source_keys[json.dumps(texts)] = texts
        sources = [self._copied[name].sources[0] for name in self.key if name in self._copied]
        if len(sources) == len(self.key) and all(row.get(name) is not None for name in sources):
            self.target_keys.add(tuple(str(row[name]) for name in sources))

    def find_in_source(self, connection: Connection, primary_key: Iterable[str]) -> None:
        """Add the keys of the source rows that hold the value."""
        primary = sorted(primary_key)
        copied = [self._copied[name].sources[0] for name in self.key if name in self._copied]
        names = list(dict.fromkeys([*primary, *copied]))
        table = self.mapping.source_table
        found = self._select(
            connection, qualified(table.schema, table.name), names, self.source_columns
        )
        for texts in found:
            row = dict(zip(names, texts, strict=True))
            self.add_row({name: row[name] for name in primary} if primary else None, row)

    def find_in_target(self, connection: Connection) -> None:
        """Add the keys of the target's rows and candidates that hold the value."""
        columns = [name for name in self.target_columns if name in self.target.columns]
        if len(self.key) == 1 and self.key[0] in self.target_columns:
            self.target_keys.add((self.value,))
        if self.mapping.derived is None:
            found = self._select(connection, self.target.sql_name, self.key, columns)
        elif self.has_candidates(connection):
            table = Table(self.mapping.target_table.database, "sink", candidate_name(self.name))
            self.candidate_catalog = read_table(connection, table)
            found = self._select(connection, self.candidates or "", self.key, self.target_columns)
        else:
            return
        self.target_keys |= {key for key in found if None not in key}

    def has_candidates(self, connection: Connection) -> bool:
        found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (self.candidates or "",))
        return found.fetchone() == (True,)

    def _select(
        self, connection: Connection, table: str, names: Sequence[str], columns: Sequence[str]
    ) -> list[Any]:
        if not columns or not names:
            return []
        texts = ", ".join(f"{quoted(name)}::text" for name in names)
        condition = " OR ".join(f"{quoted(name)}::text = %(value)s::text" for name in columns)
        query = f"SELECT {texts} FROM {table} WHERE {condition}"
        return connection.execute(query.encode(), {"value": self.value}).fetchall()

    # -- stored forms of the keys ------------------------------------------------------------------

    def texts(self, key_text: KeyText) -> list[str]:
        """Return the keys as the audit log and conflicts store them, plain and hashed."""
        found = {",".join(key) for key in self.target_keys}
        found |= {",".join(key.values()) for key in self.source_keys.values()}
        return sorted(found | {key_text.of_source(text) for text in found})

    def owners(self) -> list[str]:
        """Return the source keys as `row_version` stores them, before they are hashed."""
        return [json.dumps(list(key.values())) for key in self.source_keys.values()]

    def hashes(self, connection: Connection) -> list[str]:
        """Return the hashes of the target keys in `row_version` and `callback_row`.

        `KeyText.prepare` must have been called for the session.
        """
        plain = self._evaluate(connection, KeyText.sql(f"jsonb_build_array({self._canonical})"))
        with_owner = KeyText.sql(f"jsonb_build_array({self._canonical}, o.owner)")
        owned = self._evaluate(
            connection, with_owner, "CROSS JOIN unnest(%(owners)s::text[]) o(owner)"
        )
        return [*plain, *owned]

    def owner_hashes(self, connection: Connection) -> list[str]:
        query = (
            f"SELECT {KeyText.sql('jsonb_build_array(o.owner)')} FROM unnest(%s::text[]) o(owner)"
        )
        return [text for (text,) in connection.execute(query.encode(), (self.owners(),)).fetchall()]

    def batch_keys(self, connection: Connection) -> list[str]:
        """Return the target keys as `batch_key` stores them."""
        return self._evaluate(connection, f"jsonb_build_array({self._canonical})::text")

    @property
    def _lacks_candidates(self) -> bool:
        """Whether nothing has created the candidate table of a derived target yet."""
        return self.mapping.derived is not None and self.candidate_catalog is None

    @property
    def _canonical(self) -> str:
        if self._lacks_candidates:
            return ""
        columns = (self.candidate_catalog or self.target).columns
        types = [(name, columns[name].pg) for name in self.key]
        return ", ".join(pg.canonical(pg.read(f"s.{quoted(name)}")) for name, pg in types)

    def _evaluate(self, connection: Connection, expression: str, more: str = "") -> list[str]:
        if not self.target_keys or self._lacks_candidates:
            return []
        parts = ", ".join(f"%(k{at})s::text AS {quoted(n)}" for at, n in enumerate(self.key))
        query = f"SELECT {expression} FROM (SELECT {parts}) s {more}".encode()
        found = []
        for key in sorted(self.target_keys):
            values = {f"k{at}": part for at, part in enumerate(key)}
            # A value that is invalid for the key's type is in no key.
            with suppress(psycopg.DataError), connection.transaction():
                rows = connection.execute(query, {**values, "owners": self.owners()})
                found += [text for (text,) in rows.fetchall()]
        return found
