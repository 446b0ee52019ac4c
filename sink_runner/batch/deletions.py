"""Decide which rows a batch run removes from the target because the source does not have them.

A row that was missing, or did not qualify, when the run read the source may have come back since,
and its event may have been applied.  So the run queries the source again, while no event of the
mapping can be applied, and removes only rows that are still missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..model.batch import Batch
from ..model.changes import BATCH_ORDINAL, Change, Removal, Write
from ..model.message import ROWS, Message
from ..plugin import Delete, TableMapping
from ..writer.committer import Connection
from .keys import Key, TargetKeys
from .source import Source

Prepare: TypeAlias = Callable[[Sequence[Message]], Batch]


class Deletions:
    """The removals of one mapping's batch run."""

    def __init__(
        self,
        mapping: TableMapping,
        source: Source,
        keys: TargetKeys,
        connection: Connection,
        prepare: Prepare,
    ) -> None:
        """`connection` is a session with the source that sees its current rows."""
        self._mapping = mapping
        self._source = source
        self.keys = keys
        self._connection = connection
        self._prepare = prepare

    def confirm(
        self, connection: Connection, removals: Sequence[Removal], writes: Sequence[Write]
    ) -> list[Removal]:
        """Return the removals of a chunk that still apply and whose key the chunk does not write.

        `connection` is a session with the target.
        """
        written = {write.key for write in writes}
        removals = [removal for removal in removals if removal.key not in written]
        if not removals or not self._mapping.streaming or not self._source.format.key:
            return removals
        found = self.keys.present(connection, [_as_texts(removal.key) for removal in removals])
        removals = [removals[at] for at in sorted(found)]
        if not removals:
            return removals
        changes = self.changes_now([removal.source for removal in removals])
        removed = {change.key for change in changes if isinstance(change, Removal)}
        return [removal for removal in removals if removal.key in removed]

    def changes_now(self, messages: Sequence[Message]) -> Sequence[Change]:
        """Read the source rows of these messages again, and return their changes."""
        rows = self._source.format
        value = messages[0].value
        assert value is not None
        keys = [rows.key_of(message) for message in messages]
        lines = self._source.read_keys(self._connection, keys)
        head = value[: rows.head_size]
        return self._prepare([rows.message(head, line, 0) for line in lines]).changes

    def read_again(self, writes: Sequence[Write]) -> list[Write]:
        """Return the writes that the same source rows result in now."""
        if not writes or not self._source.format.key:
            return list(writes)  # a mapping's query cannot select single rows
        changes = self.changes_now([write.source for write in writes])
        return [change for change in changes if isinstance(change, Write)]

    def note_written(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Store the keys that the mapping may remove later from a shared target."""
        if self._mapping.shared_target:
            keys = [_as_texts(c.key) for c in changes if isinstance(c, Write) or _keeps_row(c)]
            if keys:
                self.keys.remember(connection, keys)

    # -- rows that were not read -----------------------------------------------------------------

    @property
    def find_missing(self) -> Callable[[Sequence[Key]], list[Key]] | None:
        """A function that returns the keys that the source lacks; None if it has no such query."""
        columns = self.keys.source_columns
        if columns is None or self._mapping.query is not None:
            return None

        def find_missing(keys: Sequence[Key]) -> list[Key]:
            present = self._source.has(self._connection, columns, keys)
            return [key for at, key in enumerate(keys) if at not in present]

        return find_missing

    def finds(self, writes: Sequence[Write]) -> bool:
        """Return whether the source has these rows under the keys that they have in the target.

        If not, a hook has changed a key, and a key that the source lacks proves nothing.
        """
        keys = [_as_texts(write.key) for write in self.read_again(writes)]
        return not keys or self.find_missing is None or not self.find_missing(keys)

    def removals_of(self, keys: Sequence[Key], position: int) -> list[Removal]:
        """Return the removals of these keys, by the mapping's `on_remove`."""
        action, removals = self._mapping.on_remove, []
        for key in keys:
            text = ",".join(key)
            message = Message(self._mapping.source_table.topic, ROWS, 0, text.encode(), None)
            removals.append(Removal(key, action, (position, BATCH_ORDINAL), message, text))
        return removals

    def note_removed(self, connection: Connection, removals: Sequence[Removal]) -> None:
        """Forget the removed keys, because another mapping may write rows with them later."""
        keys = [removal.key for removal in removals if not _keeps_row(removal)]
        if keys and self._mapping.shared_target:
            self.keys.forget(connection, keys)


class SeenKeys:
    """The keys that a mapping's query has returned, in the target's format, and their groups.

    They are in memory: queries aggregate, so there are few keys.
    """

    def __init__(self, keys: TargetKeys) -> None:
        self._table = keys
        names = [column.name for column in keys.columns]
        self._key_positions = [names.index(name) for name in keys.names]
        self._group_positions = [names.index(name) for name in keys.replaced]
        self.keys: set[Key] = set()
        self.groups: set[Key] = set()

    def add(self, connection: Connection, writes: Sequence[Write]) -> None:
        """Note rows that have been written."""
        if writes:
            keys = [_as_texts([write.values[i] for i in self._key_positions]) for write in writes]
            self.keys.update(self._table.format_keys(connection, keys))
        groups = {tuple(write.values[i] for i in self._group_positions) for write in writes}
        self.groups.update(_as_texts(group) for group in groups if group and None not in group)

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        return [key for key in keys if key not in self.keys]


def _keeps_row(removal: Removal) -> bool:
    """Return whether the row stays in the target, so that the mapping remains responsible."""
    return not isinstance(removal.action, Delete)


def _as_texts(key: Sequence[Any]) -> Key:
    return tuple(map(str, key))
