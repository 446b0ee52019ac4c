"""Rotate the key of dead letters: encrypt them again, and renew their fingerprints.

The fingerprint identifies the dead letters of a row, so all of them and the runner have to use the
same key.  That is the oldest key; only `fingerprints` changes it, for all dead letters at once and
while no runner is connected.  A runner checks it at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from cryptography.exceptions import InvalidTag

from ..config.dsn import Dsn
from ..errors import ConfigError
from ..model.message import ROWS
from ..postgres.error_classes import classified_errors
from ..postgres.session import connect
from ..writer import key_hashing
from ..writer.encryption import Encryptor
from .stored_dead_letters import SIZED, first_sized

Connection = psycopg.Connection[Any]

_AT_ONCE = 500
_OTHER = "key_id <> %s AND source_data IS NOT NULL"
_COUNT = f"SELECT count(*) FROM sink.dead_letter WHERE {_OTHER}"
_PLACE = f'topic, coalesce(partition, {ROWS}), "offset"'
_OTHERS = f"""
{SIZED} WHERE {_OTHER} AND dlq_id > %s
ORDER BY dlq_id LIMIT {_AT_ONCE} FOR UPDATE
"""
_READ = (
    f"SELECT dlq_id, source_data, {_PLACE} FROM sink.dead_letter WHERE dlq_id = ANY (%s) ORDER BY 1"
)
_REPLACE = "UPDATE sink.dead_letter SET source_data = %s, key_id = %s WHERE dlq_id = %s"
_MARKED = f"""
{SIZED} WHERE event_key_hash IS NOT NULL AND source_data IS NOT NULL AND dlq_id > %s
ORDER BY dlq_id LIMIT {_AT_ONCE} FOR UPDATE
"""
_MARK = "UPDATE sink.dead_letter SET event_key_hash = %s WHERE dlq_id = %s"
# A settled dead letter has no key any more, and blocks no event.
_FORGET = "UPDATE sink.dead_letter SET event_key_hash = NULL WHERE source_data IS NULL"
_RUNNERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'sink-runner %%'
  AND application_name NOT IN ('sink-runner dlq', 'sink-runner audit', 'sink-runner outbox')
"""
_SAMPLE = f"""
SELECT source_data, {_PLACE}, key_id, event_key_hash FROM sink.dead_letter
WHERE flow = %s AND event_key_hash IS NOT NULL AND status = ANY (ARRAY['OPEN', 'PARKED'])
  AND (key_id <> ALL (%s) OR dlq_id = (
    SELECT max(dlq_id) FROM sink.dead_letter
    WHERE flow = %s AND event_key_hash IS NOT NULL AND status IN ('OPEN', 'PARKED')))
ORDER BY key_id <> ALL (%s) DESC LIMIT 1
"""

ReportProgress = Callable[..., None]
"""Reports progress: it is called with `total` or with `advance`."""


class Done(NamedTuple):
    """How many dead letters were changed, and how many could not be decrypted."""

    changed: int
    unopened: int

    def __str__(self) -> str:
        left = f", {self.unopened} are encrypted with keys that are not in old_keys"
        return f"{self.changed} dead letters changed" + (left if self.unopened else "")


def encrypt_again(connection: Connection, encryptor: Encryptor, report: ReportProgress) -> Done:
    """Encrypt dead letters of other keys with the current one, in portions.

    An interrupted run can be repeated: it continues.
    """
    (total,) = connection.execute(_COUNT.encode(), (encryptor.key_id,)).fetchone() or (0,)
    report(total=total)
    changed = last = 0
    unopened = int(not key_hashing.rotate_key(connection, encryptor))
    while True:
        with connection.transaction():
            rows = _some(connection, _OTHERS, (encryptor.key_id, last))
            made = [
                (encryptor.encrypt(message), encryptor.key_id, row[0])
                for row in rows
                if (message := _decrypt(encryptor, row[1:])) is not None
            ]
            with connection.cursor() as cursor:
                cursor.executemany(_REPLACE, made)
        changed, unopened = changed + len(made), unopened + len(rows) - len(made)
        report(advance=len(rows))
        if not rows:
            return Done(changed, unopened)
        last = rows[-1][0]


def fingerprints(connection: Connection, encryptor: Encryptor, report: ReportProgress) -> Done:
    """Make all fingerprints with the current key, in one transaction."""
    new, changed, last = encryptor.renewed(), 0, 0
    with connection.transaction():
        _check_no_runner(connection, encryptor)
        connection.execute(_FORGET)
        while rows := _some(connection, _MARKED, (last,)):
            made = []
            for row in rows:
                message = _decrypt(new, row[1:])
                if message is None:
                    raise ConfigError("other keys are in use: `sink-runner dlq rekey` comes first")
                made.append((new.fingerprint(message.key), row[0]))
            with connection.cursor() as cursor:
                cursor.executemany(_MARK, made)
            changed, last = changed + len(made), rows[-1][0]
            report(advance=len(made))
    return Done(changed, 0)


def _some(connection: Connection, query: str, parameters: Sequence[Any]) -> list[Any]:
    """Read the next dead letters that a query selects and locks, of bounded size."""
    numbers = first_sized(connection, query, parameters)
    return connection.execute(_READ.encode(), (numbers,)).fetchall()


def check_fingerprints(dsn: Dsn, mapping: str, encryptor: Encryptor) -> None:
    """Refuse keys that did not make the fingerprints of the deferred dead letters."""
    with classified_errors(), connect(dsn, "sink-runner start") as connection:
        parameters = mapping, list(encryptor.key_ids), mapping, list(encryptor.key_ids)
        row = connection.execute(_SAMPLE.encode(), parameters).fetchone()
    if row is None:
        return
    *encrypted, key_id, mark = row
    message = _decrypt(encryptor, encrypted)
    if message is None:
        raise ConfigError(
            f"dead letters wait that key {key_id!r} has encrypted: put it into [dead_letters] "
            "old_keys, or discard them by `sink-runner dlq discard`"
        )
    if encryptor.fingerprint(message.key) != bytes(mark):
        raise ConfigError(
            "the dead letters' fingerprints were made with another key than the oldest in "
            "[dead_letters]: see `sink-runner dlq rekey --help`"
        )


def _check_no_runner(connection: Connection, encryptor: Encryptor) -> None:
    (runners,) = connection.execute(_RUNNERS).fetchone() or (0,)
    if runners:
        raise ConfigError(f"{runners} sessions of runners are open: stop the runners first")
    (others,) = connection.execute(_COUNT.encode(), (encryptor.key_id,)).fetchone() or (0,)
    if others:
        raise ConfigError(
            f"{others} dead letters have other keys: `sink-runner dlq rekey` comes first"
        )


def _decrypt(encryptor: Encryptor, row: Any) -> Any:
    encrypted, *place = row
    try:
        return encryptor.decrypt(encrypted, *place)
    except InvalidTag:
        return None
