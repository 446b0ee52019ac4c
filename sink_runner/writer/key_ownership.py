"""The SQL over what `sink.row_version` has of keys that pass from one source row to another.

A key's row has the source row that owns the key and the position of its last change.  For a source
row that has given a key up, a row under the hash of both has the position where it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..postgres.catalog import quoted
from ..postgres.comparison import stored
from .log_position import EXCLUDED, REMEMBERED, REPLACE_UNLESS_NULL, STAGED, LogPosition
from .statements import Statements

_GIVEN_UP = LogPosition("g.position", "g.ordinal")


class KeyState(NamedTuple):
    """What is remembered of a change's key, compared with the change."""

    owned: bool
    """A source row owns the key."""
    foreign: bool
    """The key's last owner is not the change's source row."""
    later: bool
    """The last change of the key is later.

    After a read without a position this is True for changes of other source rows and of batch runs
    only: what follows the read in its partition is later than it.
    """
    given_up: bool
    """The change's source row has given the key up since, or a batch run has removed it."""


@dataclass(frozen=True)
class OwnershipStatements:
    """SQL for one mapping; each key column, the owners and the versions are arrays of text."""

    statements: Statements

    @cached_property
    def states(self) -> str:
        """Takes the keys, positions (two arrays), owners, versions and the mapping's name twice;
        returns each change's number, from 0, and its `KeyState`."""
        sql = self.statements
        older = "false"
        if sql.conflict.version is not None:
            pg = sql.types[sql.conflict.version]
            older = f"{stored(f's._version::{pg.unbound_cast}', pg)} <= g.version::{pg.base_cast}"
        new, last = STAGED.sql, REMEMBERED.sql
        return (
            "SELECT s._number - 1, v.key IS NOT NULL AND v.deleted_at IS NULL, "
            f"coalesce(v.owner <> {self._owner}, false), "
            f"{STAGED.precedes(REMEMBERED)} "
            f"OR coalesce({new} < {last} AND v.owner <> {self._owner}, false), "
            f"coalesce(v.deleted_at IS NOT NULL AND v.owner IS NULL AND {new} <= {last}, false) "
            f"OR coalesce(CASE WHEN {STAGED.lsn} IS NULL THEN {older} "
            f"ELSE {new} <= {_GIVEN_UP.sql} END, false) "
            f"FROM {sql.given_changes('_owner', '_version')} "
            f"LEFT JOIN sink.row_version v ON v.mapping = %s AND v.key = {sql.key_hash} "
            f"LEFT JOIN sink.row_version g ON g.mapping = %s AND g.key = {self._key_and_owner}"
        )

    @cached_property
    def own(self) -> str:
        """Takes the mapping's name, keys, positions and owners: these source rows own the keys."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal, owner) "
            f"SELECT %s, {self.statements.key_hash}, {STAGED.lsn}, {STAGED.stored_ordinal}, "
            f"{self._owner} FROM {self.statements.given_changes('_owner')} "
            f"ON CONFLICT (mapping, key) DO UPDATE SET {EXCLUDED.replace(REMEMBERED)}, "
            "owner = excluded.owner, version = NULL, deleted_at = NULL"
        )

    @cached_property
    def release(self) -> str:
        """Takes the mapping's name, keys, positions and owners: no source row owns the keys."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal, owner, deleted_at)"
            f" SELECT %s, {self.statements.key_hash}, {STAGED.lsn}, {STAGED.stored_ordinal}, "
            f"{self._owner}, now() FROM {self.statements.given_changes('_owner')} "
            f"ON CONFLICT (mapping, key) DO UPDATE SET {REPLACE_UNLESS_NULL}, "
            "owner = excluded.owner, deleted_at = excluded.deleted_at"
        )

    @cached_property
    def give_up(self) -> str:
        """Takes the mapping's name, keys, positions, owners and the versions of deleted rows: these
        source rows have given the keys up, whichever row owns them now."""
        changes = self.statements.given_changes("_owner", "_version")
        return (
            "INSERT INTO sink.row_version AS v "
            "(mapping, key, position, ordinal, version, deleted_at) "
            f"SELECT %s, {self._key_and_owner}, {STAGED.lsn}, {STAGED.stored_ordinal}, s._version, "
            f"now() FROM {changes} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{REPLACE_UNLESS_NULL}, version = coalesce(excluded.version, v.version), "
            "deleted_at = excluded.deleted_at "
            f"WHERE coalesce({REMEMBERED.sql} < {EXCLUDED.sql}, true)"
        )

    @cached_property
    def same_version(self) -> str:
        """Takes the keys and the versions; returns the numbers of those that the target has."""
        sql = self.statements
        assert sql.conflict.version is not None
        pg = sql.types[sql.conflict.version]
        return (
            f"SELECT s._number - 1 FROM {sql.given_keys('_version')} "
            f"JOIN {sql.target} t ON {sql.same_key} "
            f"WHERE {stored(f's._version::{pg.unbound_cast}', pg)} "
            f"IS NOT DISTINCT FROM t.{quoted(sql.conflict.version)}"
        )

    @property
    def _owner(self) -> str:
        hashed = self.statements.key_text.sql("jsonb_build_array(s._owner)")
        return f"CASE WHEN s._owner IS NOT NULL THEN {hashed} END"

    @property
    def _key_and_owner(self) -> str:
        return self.statements.hash_of("s._owner")
