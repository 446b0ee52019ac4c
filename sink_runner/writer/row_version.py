"""Build the SQL over `sink.row_version`: log positions of a mapping's rows, and tombstones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import psycopg

from ..postgres.catalog import quoted
from ..postgres.comparison import as_base, stored
from .log_position import EXCLUDED, REMEMBERED, REPLACE_UNLESS_NULL, STAGED, TARGET
from .statements import Statements

Connection = psycopg.Connection[Any]

_HAS_TOMBSTONES = "SELECT EXISTS (SELECT FROM sink.row_version WHERE mapping = %s)"
# By the database's clock, which has set deleted_at.
_FORGET_TOMBSTONES = "DELETE FROM sink.row_version WHERE mapping = %s AND deleted_at < now() - %s"


def has_tombstones(connection: Connection, mapping: str) -> bool:
    """Return whether `sink.row_version` has rows of the mapping."""
    found = connection.execute(_HAS_TOMBSTONES, (mapping,)).fetchone()
    return found == (True,)


def forget_tombstones(connection: Connection, mapping: str, *, older_than: timedelta) -> None:
    connection.execute(_FORGET_TOMBSTONES, (mapping, older_than))


@dataclass(frozen=True)
class RowVersionStatements:
    """SQL for the keys of one mapping; each key column is an array of text."""

    statements: Statements

    @cached_property
    def discard_deleted(self) -> str:
        """Remove the staged rows that are no newer than the tombstone of their key.

        Takes the mapping's name.  A row without a position is compared by its version; if
        row or tombstone has none, the row is newer.
        """
        sql = self.statements
        version = sql.conflict.version
        older = "false"
        if version is not None:
            pg = sql.types[version]
            older = f"{stored(sql.staged(version), pg)} <= v.version::{pg.unbound_cast}"
        return (
            f"DELETE FROM {sql.stage} s USING sink.row_version v "
            f"WHERE v.mapping = %s AND v.key = {sql.key_hash} AND v.deleted_at IS NOT NULL AND "
            f"CASE WHEN {STAGED.lsn} IS NULL THEN {older} "
            f"ELSE {STAGED.precedes(REMEMBERED, or_equals=True)} END"
        )

    @cached_property
    def remember_deleted(self) -> str:
        """Takes the mapping's name, the keys, the positions (two arrays) and the versions."""
        sql = self.statements
        return (
            "INSERT INTO sink.row_version AS v "
            "(mapping, key, position, ordinal, version, deleted_at) "
            f"SELECT %s, {sql.key_hash}, {STAGED.lsn}, {STAGED.stored_ordinal}, s._version, now() "
            f"FROM {sql.given_changes('_version')} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{REPLACE_UNLESS_NULL}, version = coalesce(excluded.version, v.version), "
            "deleted_at = excluded.deleted_at "
            f"WHERE coalesce({REMEMBERED.sql} < {EXCLUDED.sql}, true) OR v.ordinal < 0"
        )

    @cached_property
    def stale(self) -> str:
        """Takes the keys, the positions (two arrays) and the mapping's name; returns the numbers,
        from 0, of those for which a later position is stored.  A change without a position is never
        among them."""
        return (
            f"{self._remembered} WHERE {STAGED.precedes(REMEMBERED)} OR "
            f"(v.deleted_at IS NOT NULL AND {STAGED.precedes(REMEMBERED, or_equals=True)})"
        )

    @cached_property
    def seen(self) -> str:
        """As `stale`, but also returns those whose own position is stored."""
        return f"{self._remembered} WHERE {STAGED.precedes(REMEMBERED, or_equals=True)}"

    @property
    def _remembered(self) -> str:
        sql = self.statements
        return (
            f"SELECT s._number - 1 FROM {sql.given_changes()} "
            f"JOIN sink.row_version v ON v.mapping = %s AND v.key = {sql.key_hash}"
        )

    @cached_property
    def remember(self) -> str:
        """Takes the mapping's name, the keys and the positions (two arrays); for changes that are
        not stale."""
        sql = self.statements
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal) "
            f"SELECT %s, {sql.key_hash}, {STAGED.lsn}, {STAGED.stored_ordinal} "
            f"FROM {sql.given_changes()} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{EXCLUDED.replace(REMEMBERED)}, version = NULL, deleted_at = NULL"
        )

    @cached_property
    def truncate(self) -> str:
        """Delete the target's rows that are no newer than a position, except those of callbacks.

        Takes the mapping's name, the position and the ordinal by name.
        """
        sql = self.statements
        types = [(f"t.{quoted(name)}", sql.all_types[name]) for name in sql.key]
        parts = ", ".join(pg.canonical(as_base(value, pg)) for value, pg in types)
        key = sql.key_text.sql(f"jsonb_build_array({parts})")
        truncated = "(%(position)s::int8, %(ordinal)s::int8)"
        newer = (
            f"coalesce({TARGET.sql} > {truncated}, false)"
            if sql.positioned
            else "EXISTS (SELECT FROM sink.row_version v WHERE v.mapping = %(mapping)s "
            f"AND v.key = {key} AND v.deleted_at IS NULL AND {REMEMBERED.sql} > {truncated})"
        )
        return (
            f"DELETE FROM {sql.target} t WHERE NOT {newer} AND NOT EXISTS (SELECT "
            f"FROM sink.callback_row c WHERE c.mapping = %(mapping)s AND c.key = {key})"
        )
