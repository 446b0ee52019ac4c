"""Run one plugin's chain into a real PostgreSQL, without Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sink_runner.config.dsn import Dsn
from sink_runner.dlq.retry_queue import Waiting
from sink_runner.dlq.superseding import identify_rows
from sink_runner.masking.column_origins import lookup_origins
from sink_runner.masking.origins import Origins
from sink_runner.model.batch import Batch
from sink_runner.model.partition import Advance, Claim, Topic
from sink_runner.plugin import TableMapping
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.transform.lookups import Lookups
from sink_runner.writer.audit import trail
from sink_runner.writer.callback_rows import CallbackRows
from sink_runner.writer.committer import Applier
from sink_runner.writer.dead_letters import DeadLetters
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets
from sink_runner.writer.refused_column import RefusedColumn
from sink_runner.writer.truncation import truncation
from sink_runner.writer.writers import make_writer

from .events import NOW, Sample
from .harness import Harness


class TargetHarness:
    """The installed plugin `name` writing where `dsn` points, as in production.

    `now` is the clock, to be set by the test.  Rows are read back with `admin_dsn`; lookups ask
    `reader_dsns`, by the database's name, and else the target by way of `admin_dsn`.
    """

    def __init__(
        self,
        name: str,
        *,
        dsn: str,
        admin_dsn: str,
        policies: Path | None = None,
        reader_dsns: Mapping[str, str] | None = None,
        beside: Sequence[str] = (),
    ) -> None:
        self.now: datetime = NOW
        self.admin = psycopg.connect(admin_dsn, autocommit=True, row_factory=dict_row)
        plain = Harness(name)
        table = plain.mapping.target_table
        with connect(dsn, "harness") as connection:
            migrate(connection)
            # The database may be a copy under another name.
            target = read_table(connection, table)
        asked = {table.database: admin_dsn} | dict(reader_dsns or {})
        dsns = {name: Dsn.of(text) for name, text in asked.items()}
        lookups = Lookups(plain.mapping.columns, dsns, mapping=plain.mapping)
        self.harness = Harness(
            name,
            policies=policies,
            types=target.columns,
            resolve=lookups.resolve,
            beside=beside,
            resolve_in_target=lookups.resolve,
            origins=_origins(plain.mapping, asked),
        )
        topic = Topic("test", plain.mapping.source_table.topic, "test")
        self.offsets = Offsets(name, topic, "test")
        self.encryptor = Encryptor(
            bytes(32), "test"
        )  # another harness takes over what this one deferred
        audited = trail(name, plain.mapping, self.harness.parts, self.encryptor)
        writer = make_writer(name, plain.mapping, self.harness.parts, target, audited)
        self.applier = Applier(
            name,
            dsn=Dsn.of(dsn),
            writer=writer,
            lookups=self.harness.parts.target_lookups,
            callbacks=CallbackRows(name, plain.mapping, self.harness.parts.columns),
            truncation=truncation(name, plain.mapping, writer),
            refused=RefusedColumn(
                self.harness.parts.columns, {n: c.pg for n, c in target.columns.items()}
            ),
            offsets=self.offsets,
            dead_letters=DeadLetters(name, "1.0", self.encryptor),
            clock=lambda: self.now,
            trail=audited,
        )
        self._lookups = lookups
        self._table = table
        self.waiting = Waiting(
            name,
            applier=self.applier,
            encryptor=self.encryptor,
            retry=timedelta(0),
            give_up=timedelta(days=1),
            clock=lambda: self.now,
            identifies_row=self._identifies_row(),
        )
        (claim,) = self.applier.claim([0]).values()
        self.waiting.load({0})
        self.epoch = claim.epoch
        self.at = claim.next_offset

    def _identifies_row(self) -> Callable[[bytes], bool] | None:
        """What the target's key is made of is the source's key."""
        mapping = self.harness.mapping
        names = (mapping.derived or mapping).key
        key = {name for c in mapping.columns if c.name in names for name in c.sources}
        return identify_rows(mapping, self.harness.parts.chain, key)

    def send(self, *samples: Sample) -> int:
        """Apply the events as one batch; return how many rows of the target changed."""
        free, held = self.waiting.split(self.harness.messages(*samples))
        batch = self.harness.prepare(free)
        self.waiting.hold(batch, held)
        return self.apply(batch)

    def retry(self) -> int:
        """Try again what is deferred, as the runner does every few seconds; heed what `sink-runner
        dlq` has changed."""
        self.waiting.load({0})
        claims = {0: Claim(self.epoch, self.at)}
        _, written = self.waiting.retry(claims, self.harness.prepare)
        return written

    def apply(self, batch: Batch) -> int:
        next_offset = (self.at or 0) + len(batch.changes) + len(batch.dead_letters) + 1
        written = self.applier.apply(batch, [Advance(0, self.epoch, self.at, next_offset)])
        self.at = next_offset
        self.waiting.note(batch.dead_letters, batch.superseding)
        return written

    def rows(self, *columns: str, order: str = "1") -> list[Mapping[str, Any]]:
        """The target table's rows."""
        names = ", ".join(columns) or "*"
        query = f"SELECT {names} FROM {self._table.schema}.{self._table.name} ORDER BY {order}"
        return list(self.admin.execute(query.encode()).fetchall())

    def dead(self) -> list[Mapping[str, Any]]:
        """The dead letters; those that wait have the status PARKED."""
        return list(self.admin.execute("SELECT * FROM sink.dead_letter ORDER BY dlq_id").fetchall())

    def close(self) -> None:
        self.applier.close()
        self._lookups.close()
        self.admin.close()


def _origins(mapping: TableMapping, dsns: Mapping[str, str]) -> Origins:
    """Those of the lookups; the source's database may not be there."""
    return Origins(lookups=lookup_origins(mapping, dsns))
