"""What leaves the target because a batch did not find it in the source.

A row that a batch saw leave, or did not see at all, may be back by now, and the event that
brought it back may have been applied.  So the source is asked once more, while no event of the
mapping can be applied; only what is still gone leaves.
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


class Departures:
    """Decides what leaves.  `asking` is a session with the source that sees what is so now."""

    def __init__(
        self, mapping: TableMapping, source: Source, keys: TargetKeys, asking: Connection
    ) -> None:
        self._mapping = mapping
        self._source = source
        self.keys = keys
        self._asking = asking

    def confirmed(
        self,
        connection: Connection,
        leaves: Sequence[Removal],
        writes: Sequence[Write],
        prepare: Prepare,
    ) -> list[Removal]:
        """Those of a chunk's leaves whose row still leaves.  A key that is also written stays."""
        kept = {write.key for write in writes}
        leaves = [leave for leave in leaves if leave.key not in kept]
        if not leaves or not self._mapping.streaming or not self._source.format.key:
            return leaves
        found = self.keys.present(connection, [_texts(leave.key) for leave in leaves])
        leaves = [leaves[at] for at in sorted(found)]
        leaving = self._leaving(leaves, prepare) if leaves else set()
        return [leave for leave in leaves if leave.key in leaving]

    def _leaving(self, leaves: Sequence[Removal], prepare: Prepare) -> set[tuple[Any, ...]]:
        """The keys whose rows leave, as the rows are now."""
        changes = self._mapped([leave.source for leave in leaves], prepare)
        return {change.key for change in changes if isinstance(change, Removal)}

    def _mapped(self, messages: Sequence[Message], prepare: Prepare) -> Sequence[Change]:
        """What the rows of these messages come to now."""
        form = self._source.format
        value = messages[0].value
        assert value is not None
        keys = [form.key_of(message) for message in messages]
        lines = self._source.again(self._asking, keys)
        return prepare([form.message(value[: form.head_size], line, 0) for line in lines]).changes

    def again(self, writes: Sequence[Write], prepare: Prepare) -> list[Write]:
        """The source rows of these, as they are now, mapped anew."""
        if not writes or not self._source.format.key:
            return list(writes)  # what a query makes of the table is not asked for row by row
        changes = self._mapped([write.source for write in writes], prepare)
        return [change for change in changes if isinstance(change, Write)]

    def wrote(self, connection: Connection, changes: Sequence[Change]) -> None:
        """Remember what is the mapping's business, where others write the target, too."""
        if self._mapping.shared_target:
            keys = [_texts(c.key) for c in changes if isinstance(c, Write) or _stays(c)]
            if keys:
                self.keys.remember(connection, keys)

    # -- what was not there to be read -----------------------------------------------------------

    @property
    def missing(self) -> Callable[[Sequence[Key]], list[Key]] | None:
        """Tells which of some keys are gone; None where the source can't be asked by key."""
        columns = self.keys.asked_as
        if columns is None or self._mapping.query is not None:
            return None

        def missing(keys: Sequence[Key]) -> list[Key]:
            there = self._source.has(self._asking, columns, keys)
            return [key for at, key in enumerate(keys) if at not in there]

        return missing

    def tells(self, writes: Sequence[Write], prepare: Prepare) -> bool:
        """Does the source know these rows by the keys that they have in the target?

        Not if a hook changes a key on its way; then a key that is missing says nothing.
        """
        keys = [_texts(write.key) for write in self.again(writes, prepare)]
        return not keys or self.missing is None or not self.missing(keys)

    def leaves(self, keys: Sequence[Key], position: int) -> list[Removal]:
        """How these keys leave, by the mapping's `on_remove`."""
        action, made = self._mapping.on_remove, []
        for key in keys:
            text = ",".join(key)
            message = Message(self._mapping.source_table.topic, ROWS, 0, text.encode(), None)
            made.append(Removal(key, action, (position, BATCH_ORDINAL), message, text))
        return made

    def left(self, connection: Connection, leaves: Sequence[Removal]) -> None:
        """They are retired: a row that comes under such a key from now on is somebody else's."""
        keys = [leave.key for leave in leaves if not _stays(leave)]
        if keys and self._mapping.shared_target:
            self.keys.forget(connection, keys)


class Seen:
    """The keys that a query has brought, as the target spells them, and the groups they are in.

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
            self.keys.update(self._table.spelled(connection, keys))
        groups = {tuple(write.values[i] for i in self._group_at) for write in writes}
        self.groups.update(_texts(group) for group in groups if group and None not in group)

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        return [key for key in keys if key not in self.keys]


def _stays(leave: Removal) -> bool:
    """Is the row still there, so that what becomes of it goes on to be the mapping's business?"""
    return not isinstance(leave.action, Delete)


def _texts(key: Sequence[Any]) -> Key:
    return tuple(map(str, key))
