"""The checks of capture on a source's server: the log, and the slot that retains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..kafka.capture import read_capture
from ..model.findings import Fault
from ..postgres.catalog import quoted
from .database_subject import DatabaseSubject

_SLOTS = """
SELECT slot_name::text, active, wal_status,
       pg_wal_lsn_diff(log.now, restart_lsn)::int8 / 1048576
FROM pg_replication_slots, LATERAL (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
) AS log (now)
WHERE database = current_database() AND slot_type = 'logical' AND NOT temporary
  AND slot_name = coalesce(%s, slot_name)
ORDER BY slot_name
"""
# In megabytes; -1 if unlimited.
_RETAINED = """
SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'
"""
_USED = """
SELECT current_setting('max_replication_slots')::int,
       (SELECT count(*) FROM pg_replication_slots)::int,
       current_setting('max_wal_senders')::int,
       (SELECT count(*) FROM pg_stat_replication)::int
"""
_AGAIN = (
    "start capture, which creates it, then write what was missed: `sink-runner batch NAME --full` "
    "for each mapping of the database"
)


class Slot(NamedTuple):
    """A replication slot of the database."""

    name: str
    active: bool
    wal_status: str | None
    retained: int | None
    """Megabytes of the log, counted back from its end."""


def read_slots(subject: DatabaseSubject) -> list[Slot]:
    """Return the slot that Debezium's properties name; without them, the database's slots."""
    rows = subject.reading.execute(_SLOTS, (_slot_name(subject),)).fetchall()
    return [Slot(*row) for row in rows]


def _slot_name(subject: DatabaseSubject) -> str | None:
    directory = subject.deployment.config.capture.directory
    capture = None if directory is None else read_capture(directory, subject.name)
    return None if capture is None else capture.slot


def check_wal_level(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find a server whose log can't be decoded."""
    if subject.is_source and subject.reading.execute("SHOW wal_level").fetchone() != ("logical",):
        yield Fault(
            f"wal_level of database {subject.name} is not logical: Debezium can't read changes",
            "wal_level = logical",
            "ALTER SYSTEM SET wal_level = logical and restart the server",
        )


def check_slot(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find that nothing reads the log: no slot, a lost one, or one that is not in use."""
    if not subject.is_source:
        return
    slots, name = read_slots(subject), _slot_name(subject)
    if not slots:
        yield Fault(
            f"database {subject.name} has no replication slot {name or 'of capture'}: changes are "
            "not captured, and those since the slot was dropped are lost",
            "a slot for Debezium",
            _AGAIN,
            refused=False,
        )
    for slot in slots:
        if slot.wal_status == "lost":
            yield Fault(
                f"replication slot {slot.name} of database {subject.name} is lost: the server has "
                "removed the log that it needs, and capture can't continue",
                "a slot whose log the server still has",
                f"SELECT pg_drop_replication_slot('{slot.name}'), and {_AGAIN}",
                refused=False,
            )
        elif not slot.active:
            yield Fault(
                f"replication slot {slot.name} of database {subject.name} is not in use: no change "
                "is captured, and the log grows until capture runs",
                "a running Debezium",
                "start capture; its log says why it ended",
                refused=False,
            )


def check_slot_retention(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find a slot that may fill the disk, or that is about to be lost."""
    if not subject.is_source:
        return
    ((limit,),) = subject.reading.execute(_RETAINED).fetchall()
    if limit < 0:
        yield Fault(
            f"max_slot_wal_keep_size of database {subject.name} is unlimited: while capture is "
            "down the log fills the disk, and then the source stops",
            "less than the free space of the disk",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB' and reload the server "
            "(SELECT pg_reload_conf())",
            refused=False,
        )
        return
    for slot in read_slots(subject):
        if slot.retained is not None and slot.retained > limit / 2:
            yield Fault(
                f"replication slot {slot.name} of database {subject.name} retains {slot.retained} "
                f"MB of the log and is lost beyond {limit} MB",
                "less than half of max_slot_wal_keep_size",
                f"ALTER SYSTEM SET max_slot_wal_keep_size = '{2 * max(slot.retained, limit)}MB' "
                "and reload the server (SELECT pg_reload_conf()), then start capture, or let it "
                "catch up",
                refused=False,
            )


def check_replication_limits(subject: DatabaseSubject) -> Iterator[Fault]:
    """Find a server without a slot or a sender left for a capture that is to start."""
    if not subject.is_source or any(slot.active for slot in read_slots(subject)):
        return
    slots, used, senders, sending = subject.reading.execute(_USED).fetchone() or (1, 0, 1, 0)
    free_needed = not read_slots(subject)
    for setting, limit, taken, is_needed in (
        ("max_replication_slots", slots, used, free_needed),
        ("max_wal_senders", senders, sending, True),
    ):
        if is_needed and taken >= limit:
            yield Fault(
                f"all {limit} of {setting} of database {subject.name} are in use: capture can't "
                "start",
                "one more",
                f"ALTER SYSTEM SET {quoted(setting)} = {limit + 4} and restart the server",
                refused=False,
            )
