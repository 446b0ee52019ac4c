"""Store reconciliation runs, their findings, and the time through which a mapping is verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import class_row

from ..batch.run_store import KeyCipher, StoredRun
from ..batch.snapshot import Snapshot
from ..postgres.session import Connection
from ..writer.encryption import Encryptor
from .report import Report
from .suspect import Suspect

_MAX_FINDINGS = 10_000
_BEGIN = """
INSERT INTO sink.reconcile_run (mapping, mode, columns, cluster, seen_before, snapshot_at)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING run
"""
_COLUMNS = """
run, mode, columns, cluster, seen_before, snapshot_at, phase, last_key, counts, columns_differing
"""
_LAST_INTERRUPTED = f"""
SELECT {_COLUMNS} FROM sink.reconcile_run
WHERE mapping = %s AND outcome = 'interrupted' ORDER BY run DESC LIMIT 1
"""
# Called with the mapping's lock held: a run that is marked as running has crashed.
_MARK_CRASHED = """
UPDATE sink.reconcile_run SET outcome = 'interrupted', finished = now()
WHERE mapping = %s AND outcome = 'running'
"""
_SUPERSEDE = """
UPDATE sink.reconcile_run SET outcome = 'abandoned', last_key = NULL
WHERE mapping = %s AND outcome = 'interrupted'
"""
_RESUME = "UPDATE sink.reconcile_run SET outcome = 'running', finished = NULL WHERE run = %s"
_PROGRESS = """
UPDATE sink.reconcile_run SET phase = %s, last_key = %s, counts = %s, columns_differing = %s,
  progressed = now() WHERE run = %s
"""
_FINISH = """
UPDATE sink.reconcile_run SET outcome = %(outcome)s, notes = %(notes)s, finished = now(),
  counts = %(counts)s, columns_differing = %(columns)s, last_key = NULL
WHERE run = %(run)s
"""
# The counts stay those stored with the last key, from which the run is resumed.
_INTERRUPT = """
UPDATE sink.reconcile_run SET outcome = 'interrupted', finished = now() WHERE run = %s
"""
_ADD_FINDING = """
INSERT INTO sink.reconcile_finding (run, kind, key_hash, columns, repaired)
VALUES (%s, %s, %s, %s, %s)
"""
_READ_VERIFIED = """
SELECT verified_through, columns, cluster, seen_before FROM sink.reconcile_state WHERE mapping = %s
"""
_ADVANCE = """
INSERT INTO sink.reconcile_state AS s
  (mapping, verified_through, run, columns, cluster, seen_before)
SELECT mapping, coalesce(%(snapshot_at)s, snapshot_at), run, columns, cluster,
  coalesce(%(seen_before)s, seen_before)
FROM sink.reconcile_run WHERE run = %(run)s
ON CONFLICT (mapping) DO UPDATE SET verified_through = excluded.verified_through,
  run = excluded.run, columns = excluded.columns, cluster = excluded.cluster,
  seen_before = excluded.seen_before
WHERE s.verified_through <= excluded.verified_through
"""
_RECENT = """
SELECT mode, started, finished, outcome, counts, columns_differing FROM sink.reconcile_run
WHERE mapping = %s ORDER BY run DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A reconciliation that has ended or still runs."""

    mode: str
    started: datetime
    finished: datetime | None
    outcome: str
    counts: dict[str, int]
    columns_differing: dict[str, int]


def recent_runs(connection: Connection, mapping: str, *, most: int) -> list[PastRun]:
    """Return the reconciliations of a mapping, the newest first."""
    with connection.cursor(row_factory=class_row(PastRun)) as cursor:
        return cursor.execute(_RECENT, (mapping, most)).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(StoredRun):
    """One row of sink.reconcile_run."""

    phase: str
    columns_differing: dict[str, int]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified of a mapping, and until when."""

    verified_through: datetime
    columns: int
    cluster: str
    seen_before: int


class ReconcileStore:
    """The runs of one mapping, in a session of their own."""

    def __init__(
        self, connection: Connection, mapping: str, encryptor: Encryptor, *, unmasked: bool
    ) -> None:
        """`unmasked`: people may see the source's key."""
        self._connection = connection
        self._mapping = mapping
        self._encryptor = encryptor
        place = f"sink.reconcile_run/{mapping}"
        self.key_encryptor = None if unmasked else encryptor
        self._keys = KeyCipher(place, self.key_encryptor)
        self._findings = 0

    def interrupted(self) -> Run | None:
        """Return the last run if it was interrupted."""
        self._connection.execute(_MARK_CRASHED, (self._mapping,))
        return self._keys.fetch_run(self._connection, _LAST_INTERRUPTED, self._mapping, Run)

    def verified(self) -> Verified | None:
        with self._connection.cursor(row_factory=class_row(Verified)) as cursor:
            return cursor.execute(_READ_VERIFIED, (self._mapping,)).fetchone()

    def begin(self, mode: str, columns: int, snapshot: Snapshot) -> int:
        """Store a new run; an interrupted one can no longer be resumed."""
        self._connection.execute(_SUPERSEDE, (self._mapping,))
        return self._insert(mode, columns, snapshot)

    def record(
        self, report: Report, columns: int, snapshot: Snapshot, found: Sequence[Suspect]
    ) -> None:
        """Store a run that has ended, with its findings; an interrupted one stays resumable."""
        with self._connection.transaction():
            run = self._insert(report.mode, columns, snapshot)
            self.add_found(run, found, repaired=False)
            self.finish(run, report)

    def _insert(self, mode: str, columns: int, snapshot: Snapshot) -> int:
        at = snapshot.at.replace(tzinfo=UTC)
        parameters = (self._mapping, mode, columns, snapshot.cluster, snapshot.seen_before, at)
        row = self._connection.execute(_BEGIN, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def resume(self, run: Run) -> int:
        self._connection.execute(_RESUME, (run.run,))
        return run.run

    def progress(self, run: int, phase: str, last_key: Sequence[str], report: Report) -> None:
        key = self._keys.hide(run, list(last_key))
        counts, columns = json.dumps(report.counts), json.dumps(report.columns)
        self._connection.execute(_PROGRESS, (phase, key, counts, columns, run))

    def add_found(self, run: int, suspects: Sequence[Suspect], *, repaired: bool) -> None:
        """Store findings, up to a limit for each run; the run's counts have no limit."""
        rows = [
            (run, str(s.kind), self._fingerprint(s), list(s.columns), repaired)
            for s in suspects[: max(0, _MAX_FINDINGS - self._findings)]
        ]
        self._findings += len(rows)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(_ADD_FINDING, rows)

    def _fingerprint(self, suspect: Suspect) -> bytes | None:
        key = suspect.change.source.key if suspect.change else None
        return self._encryptor.fingerprint(key or "\t".join(suspect.texts).encode())

    def finish(self, run: int, report: Report) -> None:
        if report.interrupted:
            self._connection.execute(_INTERRUPT, (run,))
            return
        state = {
            "run": run,
            "outcome": report.outcome,
            "notes": report.notes,
            "counts": json.dumps(report.counts),
            "columns": json.dumps(report.columns),
        }
        self._connection.execute(_FINISH, state)

    def advance(self, run: int, through: StoredRun | None = None) -> datetime | None:
        """Record that the mapping is verified through the time of a run; return that time.

        `through` is a batch run: what changed since it began is not verified.
        """
        at = through.snapshot_at.replace(tzinfo=UTC) if through else None
        seen_before = through.seen_before if through else None
        parameters = {"run": run, "snapshot_at": at, "seen_before": seen_before}
        self._connection.execute(_ADVANCE, parameters)
        found = self.verified()
        return found.verified_through.astimezone(UTC) if found else None
