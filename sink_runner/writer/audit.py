"""The audit log: what was done to a target, and by which user, without a value of a row.

A row of `sink.audit_log` stands for a whole batch and is written in the batch's transaction.  The
runner's role has no right to change or delete rows.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ..errors import WaitingError, class_name
from ..model.batch import Batch
from ..model.changes import Change, Removal, Write
from ..model.dead_letter import DeadLetter
from ..model.message import Message
from ..model.partition import Advance
from ..plugin import Delete, TableMapping
from ..transform.compiled_mapping import CompiledMapping
from .encryption import Encryptor
from .key_hashing import KeyText

Connection = psycopg.Connection[Any]

MOST_KEYS = 20
"""A batch with more rows is identified by its offsets, since listing a thousand keys takes as long
as writing a hundred rows."""
_INSERT = """
INSERT INTO sink.audit_log (event_type, source_database, target_database, table_name, record_id,
                            operation, masked_fields, user_id, os_user, details)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


@cache
def os_user() -> str:
    """Return the operating system's name of this process's user, which no variable can change."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may have no name for it
        return f"uid {os.getuid()}"


def audit(
    connection: Connection,
    *,
    event_type: str,
    source: str,
    target: str,
    table: str,
    operation: str | None = None,
    record_id: str | None = None,
    masked_fields: Collection[str] = (),
    user: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add a row to the audit log, in the caller's transaction.

    `event_type` is sync, mask, conflict or error; `source` and `target` are databases.  No argument
    may contain a value of a row, except for keys that are not personal.  `user` is the name given
    with --as; the users of the process and of the session are recorded as well.
    """
    parameters = (
        event_type,
        source,
        target,
        table,
        record_id,
        operation,
        list(masked_fields) or None,
        user,
        os_user(),
        Jsonb(details or {}),
    )
    connection.execute(_INSERT, parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Records the transactions of one mapping."""

    name: str
    mapping: TableMapping
    key_text: KeyText
    run: int | None = None
    """The batch run whose transactions are recorded."""

    def applied(
        self,
        connection: Connection,
        batch: Batch,
        changes: Sequence[Change],
        dead_letters: Sequence[DeadLetter],
        *,
        written: int,
        steps: Sequence[Advance] = (),
        read: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a batch that changed `written` rows, and its dead letters.

        `read` is the place where rows without offsets were read; without either, keys are listed.
        """
        failed = {id(dead_letter.message) for dead_letter in dead_letters}
        if failed:
            self._errors(connection, dead_letters)
            changes = [change for change in changes if id(change.source) not in failed]
        if not written:
            return
        masking = batch.masking
        masked = masking.columns if masking and _writes(changes) else ()
        where = self._where([change.source for change in changes], steps) | dict(read or {})
        details = {
            "mapping": self.name,
            "rows": len(changes),
            "changed": written,
            **where,
            **self._which(changes, placed=bool(read) or "offsets" in where),
        }
        if masking:
            details |= {"policy_version": masking.version, "policy_digest": masking.digest}
        self._add(
            connection,
            event_type="mask" if masked else "sync",
            operation="DELETE" if _deletes(changes) else None,
            masked_fields=masked,
            details=details,
        )

    def conflicts(self, connection: Connection, types: Mapping[str, int]) -> None:
        """Record the number of conflicts of each type."""
        details = {"mapping": self.name, "conflicts": dict(types)}
        self._add(connection, event_type="conflict", details=details)

    def _errors(self, connection: Connection, dead_letters: Sequence[DeadLetter]) -> None:
        counts = Counter(
            class_name(dead_letter.error)
            for dead_letter in dead_letters
            if not isinstance(dead_letter.error, WaitingError)
        )
        if counts:
            where = self._where([dead_letter.message for dead_letter in dead_letters], ())
            details = {"mapping": self.name, "errors": dict(counts), **where}
            self._add(connection, event_type="error", details=details)

    def _which(self, changes: Sequence[Change], *, placed: bool) -> dict[str, Any]:
        if len(changes) <= MOST_KEYS or not placed:
            return {"keys": [self.key_text(change.key) for change in changes]}
        # A digest of the source keys in their order, to compare a later read of the rows with.
        keys = b"".join([getattr(change.source, "key", None) or b"" for change in changes])
        digest = self.key_text.encryptor.fingerprint(hashlib.sha256(keys).digest()) or b""
        return {"keys_digest": digest.hex()}

    def _where(self, messages: Sequence[Message], steps: Sequence[Advance]) -> dict[str, Any]:
        """Return the first and last offset of each partition; retried events have no step."""
        places: dict[str, list[int]] = {}
        for step in steps:
            if step.expected is not None and step.next_offset != step.expected:
                places[str(step.partition)] = [step.expected, (step.next_offset or 0) - 1]
        if len(places) < len(steps) or not steps:
            for message in messages:
                if message is not None and message.partition >= 0:
                    at = places.setdefault(str(message.partition), [message.offset] * 2)
                    at[:] = min(at[0], message.offset), max(at[1], message.offset)
        if places:
            return {"topic": self.mapping.source_table.topic, "offsets": places}
        run = {} if self.run is None else {"run": self.run}
        return {"topic": self.mapping.source_table.topic, "batch": True, **run}

    def _add(self, connection: Connection, **given: Any) -> None:
        mapping = self.mapping
        audit(
            connection,
            source=mapping.source_table.database,
            target=mapping.target_table.database,
            table=f"{mapping.target_table.schema}.{mapping.target_table.name}",
            **given,
        )


def trail(name: str, mapping: TableMapping, parts: CompiledMapping, encryptor: Encryptor) -> Trail:
    """Return the trail of a mapping."""
    declared = mapping.derived or mapping
    key_text = KeyText(
        unmasked=parts.unmasked.issuperset(declared.key),
        encryptor=encryptor,
        source_unmasked=parts.source_key_unmasked,
    )
    return Trail(name=name, mapping=mapping, key_text=key_text)


def _writes(changes: Sequence[Change]) -> bool:
    return any(isinstance(change, Write) for change in changes)


def _deletes(changes: Sequence[Change]) -> bool:
    return all(isinstance(one, Removal) and isinstance(one.action, Delete) for one in changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the audit log."""

    at: datetime
    event_type: str
    source: str | None
    target: str | None
    table: str | None
    operation: str | None
    masked: list[str] | None
    user: str | None
    """The name given with --as."""
    os_user: str | None
    database_user: str | None
    details: dict[str, Any]


_READ = """
SELECT "timestamp", event_type, source_database, target_database, table_name, operation,
       masked_fields, user_id, os_user, database_user, details
FROM sink.audit_log
WHERE (%(mapping)s::text IS NULL OR details->>'mapping' = %(mapping)s)
  AND (%(since)s::date IS NULL OR "timestamp" >= %(since)s)
ORDER BY audit_id DESC LIMIT %(most)s
"""


def read_audit(
    connection: Connection, *, mapping: str | None, since: date | None, most: int
) -> list[Entry]:
    """Return the latest rows of the log, the newest first."""
    found = connection.execute(_READ, {"mapping": mapping, "since": since, "most": most})
    names = Entry.__dataclass_fields__
    return [Entry(**dict(zip(names, row, strict=True))) for row in found.fetchall()]
