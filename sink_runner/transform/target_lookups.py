"""Lookups that read the mapping's own target run inside the write transaction.

The result of such a lookup depends on what the mapping has written so far.  Before the transaction,
a batch run and an event, or two events of one row in a poll, would both find nothing and write the
same row twice.  In the transaction the mapping's lock is held: shared by events, exclusively by a
batch run.  Events of one source row are written in successive waves, so that each finds what the
previous one has written.  A wave runs one query for all its rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeAlias

import psycopg

from ..model.batch import Batch
from ..model.changes import Change
from ..model.message import Message
from ..plugin import Column, Lookup, TableMapping

Connection = psycopg.Connection[Any]
ResolveInTarget: TypeAlias = "Callable[[str, set[Any], Connection], Any]"
"""Finds the values of a lookup column with the writer's connection, in its transaction."""


class TargetLookups(Protocol):
    """Completes the changes of a batch in the transaction that writes them."""

    def target_waves(self, changes: Sequence[Change]) -> list[list[Change]]:
        """Split a batch into waves, each of which is looked up and written together."""

    def look_up_in_target(self, changes: Sequence[Change], connection: Connection) -> Batch:
        """Return the changes with the values found, and dead letters for the others."""


def reads_target(mapping: TableMapping, lookup: Lookup) -> bool:
    """Return whether a lookup's query names the table that the mapping writes.

    A false match does little harm: the query runs with the role of the writer.
    """
    table = mapping.target_table
    named = re.search(
        rf'(?<![\w"]){re.escape(table.name)}(?!\w)|"{re.escape(table.name)}"', lookup.query
    )
    return lookup.database == table.database and named is not None


def target_lookup_columns(mapping: TableMapping, columns: Sequence[Column]) -> frozenset[str]:
    """Return the columns that are looked up in the write transaction."""
    return frozenset(
        column.name
        for column in columns
        if any(reads_target(mapping, lookup) for lookup in column.lookups)
    )


def waves(changes: Sequence[Change], known: Sequence[int]) -> list[list[Change]]:
    """Split a batch so that no two events of a wave can find what the other one writes.

    Those are the events of one source row, and those whose target keys agree in the columns at the
    positions `known`: the columns that are not looked up.  Such events keep their order, and the
    changes of an event stay together.
    """
    made: list[list[Change]] = []
    next_: dict[Hashable, int] = {}
    wave_of: dict[int, int] = {}
    for change in changes:
        message: Message = change.source
        rows: list[Hashable] = [("target", tuple(change.key[at] for at in known))] if known else []
        if message.key is not None:
            rows.append((message.partition, message.key))
        wave = wave_of.setdefault(id(message), max((next_.get(row, 0) for row in rows), default=0))
        next_.update(dict.fromkeys(rows, wave + 1))
        made += [[] for _ in range(wave + 1 - len(made))]
        made[wave].append(change)
    return made
