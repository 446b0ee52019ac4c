"""Decide what a batch run removes from the target because it did not find it in the source.

A row that no longer qualified, or was missing, when the run read it may be back by now, and the
event that brought it back may have been applied.  So the run queries the source once more,
while no event of the mapping can be applied, and removes only what is still gone.
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
        """`connection` is a session with the source that sees the rows as they are now."""
        self._mapping = mapping
        self._source = source
        self.keys = keys
        self._connection = connection
        self._prepare = prepare

    def confirm(
        self, connection: Connection, removals: Sequence[Removal], writes: Sequence[Write]
    ) -> list[Removal]:
        """Return those of a chunk's removals whose row still has to go and is not written too.

        `connection` is a session with the target.
        """
        written = {write.key for write in writes}
        removals = [removal for removal in removals if removal.key not in written]
        if not removals or not self._mapping.streaming or not self._source.format.key:
            return removals
        found = self.keys.present(connection, [_texts(removal.key) for removal in removals])
        removals = [removals[at] for at in sorted(found)]
        if not removals:
            return removals
        changes = self.changes_now([removal.source for removal in removals])
        still = {change.key for change in changes if isinstance(change, Removal)}
        return [removal for removal in removals if removal.key in still]

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
        """Return the writes of the same source rows as they are now."""
        if not writes or not self._source.format.key:
            return list(writes)  # a mapping's query cannot select single rows
        changes = self.changes_now([write.source for write in writes])
        return [change for change in changes if isinstance(change, Write)]

    def note_written(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Remember the keys that the mapping is responsible for in a shared target."""
        if self._mapping.shared_target:
            keys = [_texts(c.key) for c in changes if isinstance(c, Write) or _keeps_row(c)]
            if keys:
                self.keys.remember(connection, keys)

    # -- rows that were not read -----------------------------------------------------------------

    @property
    def find_missing(self) -> Callable[[Sequence[Key]], list[Key]] | None:
        """What returns the keys that the source lacks; None where it cannot be queried by key."""
        columns = self.keys.source_columns
        if columns is None or self._mapping.query is not None:
            return None

        def find_missing(keys: Sequence[Key]) -> list[Key]:
            present = self._source.has(self._connection, columns, keys)
            return [key for at, key in enumerate(keys) if at not in present]

        return find_missing

    def finds(self, writes: Sequence[Write]) -> bool:
        """Return whether the source has these rows under the keys that they have in the target.

        It has not where a hook changes a key; then a missing key says nothing.
        """
        keys = [_texts(write.key) for write in self.read_again(writes)]
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
        """Forget the removed keys: a later row under one may be another mapping's."""
        keys = [removal.key for removal in removals if not _keeps_row(removal)]
        if keys and self._mapping.shared_target:
            self.keys.forget(connection, keys)


class SeenKeys:
    """The keys that a query has returned, as the target formats them, and their groups.

    They are kept in memory: what a query returns is aggregated, so there are few of them.
    """

    def __init__(self, keys: TargetKeys) -> None:
        self._table = keys
        names = [column.name for column in keys.columns]
        self._key_at = [names.index(name) for name in keys.names]
        self._group_at = [names.index(name) for name in keys.replaced]
        self.keys: set[Key] = set()
        self.groups: set[Key] = set()

    def add(self, connection: Connection, writes: Sequence[Write]) -> None:
        """Note rows that have been written."""
        if writes:
            keys = [_texts([write.values[i] for i in self._key_at]) for write in writes]
            self.keys.update(self._table.format_keys(connection, keys))
        groups = {tuple(write.values[i] for i in self._group_at) for write in writes}
        self.groups.update(_texts(group) for group in groups if group and None not in group)

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        return [key for key in keys if key not in self.keys]


def _keeps_row(removal: Removal) -> bool:
    """Return whether the row stays in the target, so that the mapping remains responsible."""
    return not isinstance(removal.action, Delete)


def _texts(key: Sequence[Any]) -> Key:
    return tuple(map(str, key))
