"""Treat a Kafka tombstone whose delete event is gone as a deletion.

Debezium sends a tombstone, a record without a value, right after each delete event, so that a
compacted topic can forget the key.  Compaction drops the delete event and keeps the tombstone for a
while: then only the tombstone shows that the row is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..avro import KeyDecoder
from ..model.changes import Removal
from ..model.envelope import Decoded
from ..model.message import Message
from ..plugin import Op, Review, TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.target_column import TargetColumn
from .row_plan import RowPlan, SourceColumn

TOMBSTONE = Decoded(Op.DELETE, None, None, None, None, None, None)
"""The event of a record without a value, of which only the key is known."""


class TombstoneFilter:
    """Finds the tombstones that do not follow their delete event, in the records of one topic."""

    def __init__(self) -> None:
        self._last: dict[int, bytes | None] = {}
        """The key of the last record of each partition."""

    def forget(self, partitions: Collection[int]) -> None:
        """Forget the last keys of these partitions, which are now read from other offsets."""
        for partition in partitions:
            self._last.pop(partition, None)

    def select(self, records: Mapping[int, Sequence[Message]]) -> list[Message]:
        """Return the records of a poll without the tombstones that only follow a delete event."""
        found = []
        for partition, part in records.items():
            before = self._last.get(partition)
            for message in part:
                if message.value is not None or message.key not in (None, before):
                    found.append(message)
                before = message.key
            self._last[partition] = before
        return found


class TombstoneRemovals:
    """Derives the removal of a target row from the key of a tombstone.

    `keys` decodes a record's key to the columns of the sorted primary key.
    """

    def __init__(self, mapping: TableMapping, source: TableCatalog, keys: KeyDecoder) -> None:
        self._action = mapping.on_delete
        self._keys = keys
        self._names = sorted(source.primary_key)
        self._columns = source.columns
        columns = {column.name: column for column in mapping.columns}
        key = mapping.derived.key if mapping.derived else mapping.key
        self._derivable = all(
            set(columns[name].sources) <= source.primary_key and not columns[name].lookups
            for name in key
        )
        self._plans: dict[bytes, RowPlan] = {}

    def removal(self, message: Message, columns: Sequence[TargetColumn]) -> Removal | None:
        """Return the removal; None if the target's key cannot be derived from the record's.

        `columns` are those of the target's key.  A deletion that a person has to review is left
        out: the record does not say whether the row ever belonged in the target.
        """
        if not self._derivable or isinstance(self._action, Review) or message.key is None:
            return None
        values = self._keys.decode(message.key)
        key = self._plan(message.key, columns).flat(values)
        return None if None in key else Removal(key, self._action, None, message)

    def _plan(self, key: bytes, columns: Sequence[TargetColumn]) -> RowPlan:
        header = key[:5]
        plan = self._plans.get(header)
        if plan is None:
            kinds = self._keys.columns(key)
            source = [
                SourceColumn(name, kinds[name].kind, found.type, found.pg)
                for name, found in ((name, self._columns[name]) for name in self._names)
            ]
            plan = self._plans[header] = RowPlan([c.unruled for c in columns], source)
        return plan
