"""Erase one person's data from the runner's own tables in one database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import Rollback

from ..dlq import stored_dead_letters as dead_letters
from ..dlq.stored_dead_letters import StoredDeadLetter, Wanted
from ..errors import AccessError, RetriableError, SinkError
from ..inspection.key_text import fingerprints
from ..inspection.payload import Payload
from ..inspection.service import DlqService
from ..postgres.catalog import quoted
from ..postgres.session import Connection, creating
from ..writer.audit import audit
from ..writer.key_hashing import KeyText
from .person import Person, key_texts, mentions, mentions_sql

_DEAD_LETTERS = """
DELETE FROM sink.dead_letter
WHERE dlq_id = ANY (%(ids)s) OR (flow = %(mapping)s AND event_key_hash = ANY (%(fingerprints)s))
"""
_VERSIONS = """
DELETE FROM sink.row_version
WHERE mapping = %(mapping)s AND (key = ANY (%(hashes)s) OR owner = ANY (%(owners)s))
"""
_CALLBACKS = "DELETE FROM sink.callback_row WHERE mapping = %(mapping)s AND key = ANY (%(hashes)s)"
_BATCH_KEYS = "DELETE FROM sink.batch_key WHERE mapping = %(mapping)s AND key = ANY (%(keys)s)"
# An interrupted run without its last key starts again at the first row.
_RUNS = """
UPDATE sink.batch_run SET last_key = NULL
WHERE mapping = %(mapping)s AND array_to_string(last_key, ',') = ANY (%(texts)s)
"""
_RECONCILED = _RUNS.replace("batch_run", "reconcile_run")
_FINDINGS = """
DELETE FROM sink.reconcile_finding f USING sink.reconcile_run r
WHERE r.run = f.run AND r.mapping = %(mapping)s AND f.key_hash = ANY (%(fingerprints)s)
"""
_IN_VALUES = " OR ".join(
    f"EXISTS (SELECT FROM jsonb_each_text({column}) v WHERE {mentions_sql('v.value')})"
    for column in ("source_value", "target_value")
)
_CONFLICTS = f"""
DELETE FROM sink.conflict WHERE {mentions_sql("coalesce(resolution_notes, '')")} OR {_IN_VALUES}
OR (table_name = %(table)s AND %(source)s = source_database AND record_id = ANY (%(texts)s))
"""
# The audit record of a batch keeps the keys of its other rows.
_AUDIT_KEYS = """
UPDATE sink.audit_log SET
  record_id = CASE WHEN NOT record_id = ANY (%(texts)s) THEN record_id END,
  details = details || jsonb_strip_nulls(jsonb_build_object(
    'keys', (details->'keys') - %(texts)s::text[],
    'source_keys', (details->'source_keys') - %(texts)s::text[]))
WHERE (record_id = ANY (%(texts)s)
  OR details->'keys' ?| %(texts)s::text[] OR details->'source_keys' ?| %(texts)s::text[])
  AND (details->>'mapping' = %(mapping)s OR record_id IS NOT NULL)
"""
_AUDIT_REASONS = f"""
UPDATE sink.audit_log SET details = details - 'reason'
WHERE details ? 'reason' AND {mentions_sql("details->>'reason'")}
"""
_GRANT_WRITES = (
    "GRANT UPDATE ON sink.audit_log TO CURRENT_USER; GRANT DELETE ON sink.conflict TO CURRENT_USER"
)
_REVOKE_WRITES = (
    "REVOKE UPDATE ON sink.audit_log FROM CURRENT_USER; "
    "REVOKE DELETE ON sink.conflict FROM CURRENT_USER"
)


@dataclass
class Erased:
    """The number of rows that were deleted or changed in each table."""

    rows: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    """Dead letters that could not be decrypted or decoded, so they may hold the person's data."""


@dataclass(frozen=True)
class Eraser:
    """Erases one person from one database; `persons` has the keys to erase for each mapping.

    The keys come from source and target; the payloads of dead letters add more.
    """

    service: DlqService
    database: str
    persons: Sequence[Person]

    def run(self, connection: Connection, *, dry_run: bool) -> Erased:
        """Erase in one transaction and record it in the audit log; `dry_run` rolls back."""
        key_text = KeyText(unmasked=False, encryptor=self.service.encryptor)
        key_text.prepare(connection)
        found, ids = Erased(), dict[str, list[int]]()
        for person in self.persons:
            ids[person.name] = self._read_dead_letters(connection, person, found)
        with creating(connection):
            connection.execute(_GRANT_WRITES)
            for person in self.persons:
                self._erase(connection, person, ids[person.name], key_text, found)
            self._record(connection, found)
            connection.execute(_REVOKE_WRITES)
            if dry_run:
                raise Rollback
        return found

    def _read_dead_letters(
        self, connection: Connection, person: Person, found: Erased
    ) -> list[int]:
        """Return the ids of the person's dead letters; add the keys of their rows to `person`."""
        wanted, last = Wanted(mapping=person.name, statuses=["OPEN", "PARKED"]), 0
        mentioned, keys = list[int](), dict[int, str]()
        while part := dead_letters.find_after(connection, wanted, last):
            for dead_letter in part:
                payload = self._payload(dead_letter)
                if payload is None:
                    found.unreadable += 1
                    continue
                rows = [row for row in (payload.key, payload.before, payload.after) if row]
                keys[dead_letter.dlq_id] = json.dumps(key_texts(payload.key or {}))
                texts = (str(value) for row in rows for value in row.values() if value is not None)
                if any(mentions(text, person.value) for text in texts):
                    mentioned.append(dead_letter.dlq_id)
                    for row in rows:
                        person.add_row(payload.key, row)
            last = part[-1].dlq_id
        of_rows = [number for number, key in keys.items() if key in person.source_keys]
        return [*mentioned, *of_rows]

    def _payload(self, dead_letter: StoredDeadLetter) -> Payload | None:
        try:
            return self.service.payloads.read(dead_letter)
        except (AccessError, RetriableError):
            raise
        except SinkError:
            return None

    def _erase(
        self,
        connection: Connection,
        person: Person,
        ids: Sequence[int],
        key_text: KeyText,
        found: Erased,
    ) -> None:
        mapping = person.mapping
        values = {
            "mapping": person.name,
            "value": person.value,
            "ids": list(ids),
            "fingerprints": self._fingerprints(person),
            "texts": person.texts(key_text),
            "hashes": person.hashes(connection),
            "owners": person.owner_hashes(connection),
            "keys": person.batch_keys(connection),
            "table": mapping.target_table.name,
            "source": mapping.source_table.database,
        }
        statements = [
            ("dead_letter", _DEAD_LETTERS),
            ("row_version", _VERSIONS),
            ("callback_row", _CALLBACKS),
            ("batch_key", _BATCH_KEYS),
            ("batch_run", _RUNS),
            ("reconcile_run", _RECONCILED),
            ("reconcile_finding", _FINDINGS),
            ("conflict", _CONFLICTS),
            ("audit_log", _AUDIT_KEYS),
            ("audit_log", _AUDIT_REASONS),
        ]
        if person.candidates is not None and person.has_candidates(connection):
            statements.append((person.candidates.split(".", 1)[1], self._candidates(person)))
            values |= {f"k{at}": list(c) for at, c in enumerate(zip(*person.target_keys))}  # noqa: B905
        for table, statement in statements:
            found.rows[table] += connection.execute(statement.encode(), values).rowcount

    @staticmethod
    def _candidates(person: Person) -> str:
        conditions = [f"{quoted(name)}::text = %(value)s::text" for name in person.target_columns]
        if person.target_keys:
            key = ", ".join(f"{quoted(name)}::text" for name in person.key)
            arrays = ", ".join(f"%(k{at})s::text[]" for at in range(len(person.key)))
            conditions.append(f"({key}) IN (SELECT * FROM unnest({arrays}))")
        return f"DELETE FROM {person.candidates} WHERE {' OR '.join(conditions) or 'false'}"

    def _fingerprints(self, person: Person) -> list[bytes]:
        """Return the fingerprints of the keys of Kafka records and of batch rows."""
        topics = [person.mapping.source_table.topic] if person.mapping.streaming else []
        return [
            fingerprint
            for key in person.source_keys
            for fingerprint in fingerprints(
                key, topics, self.service.schemas, self.service.encryptor
            )
        ]

    def _record(self, connection: Connection, found: Erased) -> None:
        columns = sorted({name for person in self.persons for name in person.subjects})
        audit(
            connection,
            event_type="erase",
            source=self.database,
            target=self.database,
            table="sink",
            user=self.service.user,
            details={"columns": columns, "rows": dict(+found.rows)},
        )
