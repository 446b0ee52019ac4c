"""Write rows whose target key may pass from one source row to another.

For each key the runner remembers the source row that holds it and the position of its last change,
and for each source row that gave a key up, where in the log it did.  Then the outcome depends on
the log alone, whatever order the partitions come in:

- A row is stale if its source row has given the key up since, or if a later one holds it.
- A key leaves the target only with the source row that holds it.  Of two rows that swap their keys
  in one transaction, each takes the other's key before that one's departure is told.
- Where a unique constraint of the source says that a key belongs to one row at a time, a row that
  takes over a key replaces all that was there, as if the departure had come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import psycopg

from ..model.changes import Change, Position, Removal, Round, Write
from ..plugin import ABSENT, Delete, Ignore, Review, Strategy
from ..postgres.catalog import quoted
from .parameters import key_arrays, position_arrays, run
from .statements import (
    EXCLUDED,
    KEEP_POSITION,
    ORDINAL,
    POSITION,
    REMEMBERED,
    STAGED,
    Statements,
    ordinal_of,
    place_of,
    precedes,
    replace_position,
    stored,
)
from .versions import VersionedWriter

Connection = psycopg.Connection[Any]

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sink/keys/' || %s, 0))"
_FIRST: Position = (-1, 0)


class Standing(NamedTuple):
    """What is remembered of the key of a change, compared with the change."""

    live: bool
    """A source row holds the key."""
    foreign: bool
    """It is another than the change's."""
    later: bool
    """Its last change is later.

    After a read without a position this holds for changes of other source rows and of batch runs
    only: what follows the read in its partition is later than it.
    """
    gone: bool
    """The change's own source row has given the key up since, or a batch run has removed it."""


@dataclass(frozen=True)
class OwnershipStatements:
    """The SQL over what is remembered of keys and their owners."""

    statements: Statements

    @cached_property
    def standing(self) -> str:
        """Takes the keys, positions (two arrays), owners, versions and the mapping's name twice;
        returns each change's number, from 0, and its `Standing`."""
        sql = self.statements
        older = "false"
        if sql.conflict.version is not None:
            pg = sql.types[sql.conflict.version]
            older = f"{stored(f's._version::{pg.unbound_cast}', pg)} <= g.version::{pg.base_cast}"
        place, held = place_of(STAGED), place_of(REMEMBERED)
        return (
            "SELECT s._number - 1, v.key IS NOT NULL AND v.deleted_at IS NULL, "
            f"coalesce(v.owner <> {self._owner}, false), "
            f"{precedes(STAGED, REMEMBERED)} "
            f"OR coalesce({place} < {held} AND v.owner <> {self._owner}, false), "
            f"coalesce(v.deleted_at IS NOT NULL AND v.owner IS NULL AND {place} <= {held}, false) "
            f"OR coalesce(CASE WHEN s.{POSITION} IS NULL THEN {older} "
            f"ELSE {place} <= (g.position, g.ordinal) END, false) "
            f"FROM {self._changes('_version')} "
            f"LEFT JOIN sink.row_version v ON v.mapping = %s AND v.key = {sql.key_hash} "
            f"LEFT JOIN sink.row_version g ON g.mapping = %s AND g.key = {self._given_up}"
        )

    @cached_property
    def hold(self) -> str:
        """Takes the mapping's name, keys, positions and owners: these source rows hold the keys."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal, owner) "
            f"SELECT %s, {self.statements.key_hash}, s.{POSITION}, {ordinal_of(STAGED)}, "
            f"{self._owner} FROM {self._changes()} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{replace_position(EXCLUDED, REMEMBERED)}, owner = excluded.owner, "
            "version = NULL, deleted_at = NULL"
        )

    @cached_property
    def release(self) -> str:
        """Takes the mapping's name, keys, positions and owners: nobody holds the keys any more."""
        return (
            "INSERT INTO sink.row_version AS v (mapping, key, position, ordinal, owner, deleted_at)"
            f" SELECT %s, {self.statements.key_hash}, s.{POSITION}, {ordinal_of(STAGED)}, "
            f"{self._owner}, now() FROM {self._changes()} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{KEEP_POSITION}, owner = excluded.owner, deleted_at = excluded.deleted_at"
        )

    @cached_property
    def give_up(self) -> str:
        """Takes the mapping's name, keys, positions, owners and the versions of the rows that were
        deleted: these source rows have given the keys up, whoever holds them."""
        return (
            "INSERT INTO sink.row_version AS v "
            "(mapping, key, position, ordinal, version, deleted_at) "
            f"SELECT %s, {self._given_up}, s.{POSITION}, {ordinal_of(STAGED)}, s._version, now() "
            f"FROM {self._changes('_version')} ON CONFLICT (mapping, key) DO UPDATE SET "
            f"{KEEP_POSITION}, version = coalesce(excluded.version, v.version), "
            "deleted_at = excluded.deleted_at "
            "WHERE coalesce((v.position, v.ordinal) "
            "< (excluded.position, excluded.ordinal), true)"
        )

    @cached_property
    def won(self) -> str:
        """Takes the keys and the versions; returns the numbers of those that the target has."""
        sql = self.statements
        assert sql.conflict.version is not None
        pg = sql.types[sql.conflict.version]
        arrays = ", ".join("%s::text[]" for _ in (*sql.key, "_version"))
        names = ", ".join([*map(quoted, sql.key), "_version", "_number"])
        return (
            f"SELECT s._number - 1 FROM unnest({arrays}) WITH ORDINALITY AS s({names}) "
            f"JOIN {sql.target} t ON {sql.same_key} "
            f"WHERE {stored(f's._version::{pg.unbound_cast}', pg)} "
            f"IS NOT DISTINCT FROM t.{quoted(sql.conflict.version)}"
        )

    def _changes(self, *more: str) -> str:
        key = self.statements.key
        types = [*("text" for _ in key), "int8", "int8", *("text" for _ in ("_owner", *more))]
        names = [*map(quoted, key), POSITION, ORDINAL, "_owner", *more, "_number"]
        arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
        return f"unnest({arrays}) WITH ORDINALITY AS s({', '.join(names)})"

    @property
    def _owner(self) -> str:
        hashed = self.statements.key_text.sql("jsonb_build_array(s._owner)")
        return f"CASE WHEN s._owner IS NOT NULL THEN {hashed} END"

    @property
    def _given_up(self) -> str:
        """The row under which a source row's departure from a key is remembered."""
        return self.statements.hash_of("s._owner")


class OwnershipWriter(VersionedWriter):
    """Orders the changes of several source rows to one target key."""

    exclusive = True
    """A key belongs to one source row at a time."""

    @cached_property
    def _owners(self) -> OwnershipStatements:
        return OwnershipStatements(self._sql)

    def begin(self, connection: Connection) -> None:
        """Let no other process of the mapping write until the transaction ends.

        Another one may hold the partition of the row that holds the key now.
        """
        super().begin(connection)
        run(connection, _LOCK, [self._sql.mapping])

    def rounds(self, connection: Connection, changes: Iterable[Change]) -> list[Round]:
        """Take the changes in the order of the log; what has no position follows its row."""
        last: dict[str | None, Position] = {}
        placed = []
        for change in changes:
            place = change.position or last.get(change.owner, _FIRST)
            last[change.owner] = place
            placed.append((place, change))
        placed.sort(key=lambda pair: pair[0])
        versioned = self._sql.conflict.version is not None
        return self.split(connection, [change for _, change in placed], versioned=versioned)

    def write_round(self, connection: Connection, part: Round) -> int:
        leaves, writes = list(part.leaves.values()), list(part.writes.values())
        known = self._standing(connection, [*leaves, *writes])
        asked = list(zip(leaves, known[: len(leaves)], strict=True))
        self.stale += sum(s.later for leave, s in asked if not isinstance(leave.action, Review))
        left = [
            leave
            for leave, s in asked
            if isinstance(leave.action, Review) or not (s.foreign or s.later)
        ]
        self._give_up_only(connection, [le for le, s in asked if s.foreign or s.later])
        told = list(zip(writes, known[len(leaves) :], strict=True))
        fresh = [(write, s) for write, s in told if not self._is_stale(write, s)]
        fresh = self._without_ties(connection, fresh)
        self.stale += len(told) - len(fresh)
        replaced = [write for write, s in fresh if self._replaces(write, s)]
        if replaced:
            run(connection, self._sql.delete, key_arrays(write.key for write in replaced))
        kept = Round(
            writes={write.key: write for write, _ in fresh},
            leaves={leave.key: leave for leave in left},
            outdated=part.outdated,
        )
        written = super(VersionedWriter, self).write_round(connection, kept)
        marks = [leave for leave in left if not isinstance(leave.action, Delete | Ignore | Review)]
        self._hold(connection, [*marks, *self._holders(connection, fresh)])
        return written

    def delete(self, connection: Connection, leaves: Sequence[Removal]) -> int:
        """Delete the rows, and remember which source rows have given their keys up."""
        ordered = sorted(leaves, key=lambda leave: str(leave.key))
        keys = key_arrays(leave.key for leave in ordered)
        deleted = dict(run(connection, self._sql.delete, keys).fetchall())
        run(connection, self._owners.release, self._parameters(ordered))
        self._give_up(connection, ordered, [deleted.get(at) for at in range(len(ordered))])
        return len(deleted)

    def _discard_deleted(self, connection: Connection) -> None:
        """What is older than a deletion has been left out already."""

    # -- what is remembered ----------------------------------------------------------------------

    def _standing(self, connection: Connection, changes: Sequence[Change]) -> list[Standing]:
        if not changes:
            return []
        versions = [self._version_of(change) for change in changes]
        mapping, *arrays = self._parameters(changes)
        found = run(connection, self._owners.standing, [*arrays, versions, mapping, mapping])
        return [Standing(*rest) for _, *rest in sorted(found.fetchall())]

    def _is_stale(self, write: Write, standing: Standing) -> bool:
        if standing.gone:
            return True
        if not standing.live:
            return False
        if write.position is None:  # of an incremental snapshot: whoever took the key came later
            return self.exclusive and standing.foreign and self._sql.conflict.version is None
        if not standing.later:
            return False
        newest = self._sql.conflict.strategy in (Strategy.NEWEST_WINS, Strategy.MERGE_CHANGED)
        return (self.exclusive and standing.foreign) or not newest

    def _without_ties(
        self, connection: Connection, fresh: list[tuple[Write, Standing]]
    ) -> list[tuple[Write, Standing]]:
        """Of two rows of the same version the later one in the log stays."""
        older = [write for write, s in fresh if s.live and s.later]
        if not older or self._sql.conflict.version is None:
            return fresh
        tied = {write.key for write in self._at_target_version(connection, older)}
        return [(write, s) for write, s in fresh if write.key not in tied]

    def _at_target_version(self, connection: Connection, writes: Sequence[Write]) -> list[Write]:
        """Those that have the version that the target's row of their key has."""
        versions = [self._version_of(write) for write in writes]
        arrays = [*key_arrays(write.key for write in writes), versions]
        found = {number for (number,) in run(connection, self._owners.won, arrays).fetchall()}
        return [write for number, write in enumerate(writes) if number in found]

    def _replaces(self, write: Write, standing: Standing) -> bool:
        taken = standing.live and standing.foreign
        return self.exclusive and taken and write.position is not None

    def _holders(
        self, connection: Connection, fresh: Sequence[tuple[Write, Standing]]
    ) -> list[Write]:
        """Those of the rows just written that hold their keys from now on."""
        strategy = self._sql.conflict.strategy
        if strategy is Strategy.SOURCE_WINS:
            return [write for write, _ in fresh]
        sure = [w for w, s in fresh if not s.live or self._replaces(w, s)]
        if strategy is Strategy.INSERT_ONCE:
            return sure
        known = {write.key for write in sure}
        others = [write for write, _ in fresh if write.key not in known]
        return sure + (self._at_target_version(connection, others) if others else [])

    def _hold(self, connection: Connection, changes: Sequence[Change]) -> None:
        if changes:
            ordered = sorted(changes, key=lambda change: str(change.key))
            run(connection, self._owners.hold, self._parameters(ordered))

    def _give_up_only(self, connection: Connection, leaves: Sequence[Removal]) -> None:
        """Of keys that a later row holds, or another one: that one stays."""
        gone = [leave for leave in leaves if isinstance(leave.action, Delete)]
        self._give_up(connection, gone, [None] * len(gone))

    def _give_up(
        self, connection: Connection, leaves: Sequence[Removal], versions: Sequence[str | None]
    ) -> None:
        known = [(le, v) for le, v in zip(leaves, versions, strict=True) if le.owner is not None]
        if known:
            parameters = self._parameters([leave for leave, _ in known])
            run(connection, self._owners.give_up, [*parameters, [v for _, v in known]])

    def _parameters(self, changes: Sequence[Change]) -> list[Any]:
        keys = key_arrays(change.key for change in changes)
        owners = [change.owner for change in changes]
        return [self._sql.mapping, *keys, *position_arrays(changes), owners]

    def _version_of(self, change: Change) -> str | None:
        if self._sql.conflict.version is None or isinstance(change, Removal):
            return None
        value = change.values[self._version_at]
        return None if value is None or value is ABSENT else str(value)

    @cached_property
    def _version_at(self) -> int:
        names = [column.name for column in self._sql.columns]
        return names.index(str(self._sql.conflict.version))


class SharedKeyWriter(OwnershipWriter):
    """As its base, where several source rows may hold a key at the same time.

    Among them the mapping's strategy decides which is in the target.
    """

    exclusive = False
