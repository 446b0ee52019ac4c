"""Read what the target's database has of one event or row: progress, dead letters, the row itself.

Nothing is written, and no session may write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ..batch.row_differences import RowDifferences
from ..dlq.stored_dead_letters import StoredDeadLetter, find_at, find_before
from ..model.changes import Key, Write
from ..model.message import Message
from ..plugin import ABSENT
from ..postgres.catalog import quoted
from ..postgres.migrations import has_tables
from ..postgres.session import Connection
from ..writer.encryption import Encryptor
from ..writer.key_hashing import KeyText
from ..writer.stored_offsets import Progress, read_progress
from .dry_run import DryRun

_IS_PREPARED = "SELECT EXISTS (SELECT FROM sink.key_secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """What the target's database has of one event."""

    progress: Progress | None = None
    """Of the event's partition; None if no runner has claimed it."""
    dead_letter: StoredDeadLetter | None = None
    blocker: StoredDeadLetter | None = None
    """The event that it waits behind."""


class RowState(NamedTuple):
    """The target's row of one key, compared with the row of a change."""

    values: dict[str, str | None] | None
    """None if the target has no such row."""
    differing: Sequence[str] = ()
    """The columns whose values differ."""
    newer: bool = False
    """Whether the target's version is later."""
    deleted_at: datetime | None = None
    """When the runner deleted the row, if it remembers that."""
    run: int | None = None
    """The batch run that deleted it."""


def may_write(connection: Connection) -> bool:
    """Return whether a dry run leaves nothing: the first writer of a database stores a secret."""
    return has_tables(connection) and connection.execute(_IS_PREPARED).fetchone() == (True,)


def read_event_state(connection: Connection, mapping: str, message: Message) -> EventState:
    """Return what the target's database has of an event."""
    if not has_tables(connection):
        return EventState()
    progress = read_progress(connection, mapping, message.topic)
    dead_letter = find_at(connection, mapping, message.topic, message.partition, message.offset)
    waits = dead_letter is not None and dead_letter.status == "PARKED"
    return EventState(
        progress=progress.get(message.partition),
        dead_letter=dead_letter,
        blocker=find_before(connection, dead_letter) if dead_letter and waits else None,
    )


def read_row_state(
    connection: Connection,
    dry: DryRun,
    key: Key,
    encryptor: Encryptor,
    *,
    write: Write | None = None,
) -> RowState:
    """Return the target's row of a key, compared with `write`, in a session of `target_session`."""
    texts = tuple(map(str, key))
    columns = [column.name for column in dry.keys.columns]
    selected = ", ".join(f"t.{quoted(name)}::text" for name in columns)
    query = f"SELECT {selected} FROM {dry.keys.joined}"
    row = connection.execute(query.encode(), dry.keys.arrays([texts])).fetchone()
    if row is None:
        deleted_at, run = _deletion(connection, dry, texts, encryptor)
        return RowState(None, deleted_at=deleted_at, run=run)
    values = dict(zip(columns, row, strict=True))
    return (
        RowState(values) if write is None else RowState(values, *_compare(connection, dry, write))
    )


def _compare(connection: Connection, dry: DryRun, write: Write) -> tuple[list[str], bool]:
    """Return the columns in which the target's row differs, and whether it has a later version."""
    sql = RowDifferences(dry.pipeline.mapping, dry.keys)
    values = {
        column.name: value
        for at, (column, value) in enumerate(zip(dry.keys.columns, write.values, strict=True))
        if value is not ABSENT and (write.keep < 0 or not write.keep >> at & 1)
    }
    compared = [column for column in sql.compared if column.name in values]
    differs = ", ".join(map(sql.differs, compared))
    names = ", ".join(f"%s::text AS {quoted(column.name)}" for column in dry.keys.columns)
    query = (
        f"SELECT {sql.is_superseded}, ARRAY[{differs}]::boolean[] "
        f"FROM (SELECT {names}) s JOIN {dry.keys.table} t ON {sql.same_key}"
    )
    parameters = [_text(values.get(column.name)) for column in dry.keys.columns]
    row = connection.execute(query.encode(), parameters).fetchone()
    newer, flags = row or (False, [])
    return [one.name for one, flag in zip(compared, flags, strict=True) if flag], newer


def _deletion(
    connection: Connection, dry: DryRun, key: tuple[str, ...], encryptor: Encryptor
) -> tuple[datetime | None, int | None]:
    """Return when the runner deleted the row of a key, and by which batch run."""
    if not may_write(connection):
        return None, None
    KeyText(unmasked=False, encryptor=encryptor).prepare(connection)
    query = (
        "SELECT v.deleted_at, (SELECT max(r.run) FROM sink.batch_run r "
        "WHERE r.mapping = v.mapping AND r.position = v.position) "
        f"FROM {dry.keys.as_rows} JOIN sink.row_version v "
        f"ON v.key = {KeyText.sql(dry.keys.json_text)} "
        "WHERE v.mapping = %s AND v.deleted_at IS NOT NULL"
    )
    parameters = [*dry.keys.arrays([key]), dry.pipeline.name]
    row = connection.execute(query.encode(), parameters).fetchone()
    return row or (None, None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
