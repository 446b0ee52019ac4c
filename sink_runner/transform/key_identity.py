"""Decide whether a target key stays with one source row, or may pass from one to another.

Kafka keeps the order of one source row: its events have one key and so one partition.  Where a
target key can come from several source rows, their events come from several partitions in any
order.  Then the writer also has to remember the positions of rows that exist.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..avro import KeyDecoder
from ..errors import DecodeError
from ..model.message import Message
from ..plugin import Column, TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.types import PgType
from .steps import Chain

_MOMENTS = frozenset(("date", "timestamp", "timestamptz"))


class KeyIdentity(enum.Enum):
    """Which source rows a target key may come from."""

    SOURCE_ROW = "one source row"
    """The target's key contains the source's key: a target row always has the same source row."""
    PASSED_ON = "one source row at a time"
    """A unique constraint of the source permits one source row at a time; the key may pass on."""
    SHARED = "several source rows"
    """Several source rows may have the key at the same time."""


class Ownership(NamedTuple):
    """Which source rows a mapping's target keys come from."""

    identity: KeyIdentity = KeyIdentity.SOURCE_ROW
    owner_of: Callable[[Message], str | None] | None = None
    """Return the source row's key as text; None if the writer does not need it."""


def ownership(
    mapping: TableMapping,
    source: TableCatalog,
    key_of: Callable[[Message], Mapping[str, Any]],
    *,
    has_maps: bool = False,
    target: Mapping[str, PgType] = MappingProxyType({}),
) -> Ownership:
    """Return the ownership, by the mapping, the source's catalog and the target's column types.

    `key_of` returns the columns of an event's key and may raise DecodeError.  `has_maps` says
    that a plugin has `sink_map`, and so may change a column of a natural key.
    """
    identity = key_identity(mapping, source, has_maps=has_maps, target=target)
    if identity is KeyIdentity.SOURCE_ROW:
        return Ownership()
    moments = {name for name, c in source.columns.items() if c.pg.scalar.name in _MOMENTS}

    def owner_of(message: Message) -> str | None:
        if message.key is None:
            return None
        try:
            key = key_of(message)
        except DecodeError:
            return None
        return json.dumps([_text(key[name], moment=name in moments) for name in sorted(key)])

    return Ownership(identity, owner_of)


def own_by_events(
    mapping: TableMapping,
    source: TableCatalog,
    keys: KeyDecoder,
    chain: Chain,
    target: Mapping[str, PgType],
) -> Ownership:
    """Return the ownership for change events; `keys` decodes their keys to the primary key."""
    names = sorted(source.primary_key)

    def key_of(message: Message) -> dict[str, Any]:
        return dict(zip(names, keys.decode(message.key), strict=True))

    return ownership(mapping, source, key_of, has_maps=bool(chain.maps), target=target)


def key_identity(
    mapping: TableMapping,
    source: TableCatalog,
    *,
    has_maps: bool = False,
    target: Mapping[str, PgType] = MappingProxyType({}),
) -> KeyIdentity:
    """Return which source rows a target key may come from."""
    if not mapping.streaming:
        return KeyIdentity.SOURCE_ROW  # batch runs come one after the other
    columns = {column.name: column for column in mapping.columns}
    key = mapping.derived.key if mapping.derived else mapping.key
    found = [columns[name] for name in key if _is_copied(columns[name], source, target.get(name))]
    copied = {column.sources[0] for column in found}
    if source.primary_key and source.primary_key <= copied:
        return KeyIdentity.SOURCE_ROW
    whole = len(copied) == len(key) and not has_maps
    if whole and any(unique <= copied for unique in source.unique):
        return KeyIdentity.PASSED_ON
    return KeyIdentity.SHARED


def _is_copied(column: Column, source: TableCatalog, target: PgType | None) -> bool:
    """Return whether different values of the source column stay different in the target."""
    return (
        len(column.sources) == 1
        and column.sources[0] in source.columns
        and not (column.lookups or column.convert or column.max_length)
        and column.default is None
        and not (target and target.makes_equal(source.columns[column.sources[0]].pg))
    )


def _text(value: Any, *, moment: bool) -> str:
    """Return a value of a key as the same text for an event and for a row of a batch run."""
    text = ("t" if value else "f") if isinstance(value, bool) else str(value)
    return text.replace("T", " ").removesuffix("Z").removesuffix("+00") if moment else text
