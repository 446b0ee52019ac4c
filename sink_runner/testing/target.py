"""Write sample events to a real PostgreSQL with an installed plugin, without Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from psycopg.rows import dict_row

from sink_runner.config.dsn import Dsn
from sink_runner.masking.column_origins import lookup_origins
from sink_runner.masking.origins import Origins
from sink_runner.model.batch import Batch
from sink_runner.model.partition import Advance, Claim, Topic
from sink_runner.pipeline import MappingSetup, build_pipeline
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets

from .events import NOW, Sample
from .harness import load_plugin, read_policies
from .samples import Samples


class TargetHarness:
    """The installed plugin `name` writing where `dsn` points, as in production.

    `now` is the clock, to be set by the test.  Rows are read back with `admin_dsn`; lookups query
    `reader_dsns`, by the database's name, or else the target with `admin_dsn`.
    """

    encryptor: ClassVar = Encryptor(bytes(32), "test")
    """The same for all harnesses, so that one can retry the deferred events of another."""

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
        plugin = load_plugin(name)
        assert plugin.mapping is not None, f"plugin {name!r} declares no mapping"
        mapping = plugin.mapping
        with connect(dsn, "harness") as connection:
            migrate(connection)
            # The database may be a copy under another name.
            target = read_table(connection, mapping.target_table)
        readers = {mapping.target_table.database: admin_dsn} | dict(reader_dsns or {})
        self.samples = Samples(mapping)
        setup = MappingSetup(
            plugin=plugin,
            plugins=[plugin, *(load_plugin(other) for other in beside)],
            policies=read_policies(policies),
            origins=Origins(lookups=lookup_origins(mapping, readers)),
            target=target,
            target_dsn=Dsn.of(dsn),
            readers={database: Dsn.of(text) for database, text in readers.items()},
            encryptor=self.encryptor,
            clock=lambda: self.now,
        )
        topic = Topic("test", mapping.source_table.topic, "test")
        self.pipeline = build_pipeline(setup, self.samples.source, Offsets(name, topic, "test"))
        self.messages, self.prepare = self.samples.messages, self.pipeline.prepare
        self.committer, self.waiting = self.pipeline.committer, self.pipeline.retry_queue
        self._table = mapping.target_table
        (claim,) = self.committer.claim([0]).values()
        self.waiting.load({0})
        self.epoch = claim.epoch
        self.at = claim.next_offset

    def send(self, *samples: Sample) -> int:
        """Apply the events as one batch; return how many rows of the target changed."""
        free, held = self.waiting.split(self.messages(*samples))
        batch = self.prepare(free)
        self.waiting.hold(batch, held)
        return self.apply(batch)

    def batch(self, *samples: Sample) -> Batch:
        """Transform the events, and write nothing."""
        return self.prepare(self.messages(*samples))

    def retry(self) -> int:
        """Retry deferred events, as the runner does every few seconds.

        Changes by `sink-runner dlq` apply as well.
        """
        self.waiting.load({0})
        claims = {0: Claim(self.epoch, self.at)}
        _, written = self.waiting.retry(claims, self.prepare)
        return written

    def apply(self, batch: Batch) -> int:
        next_offset = (self.at or 0) + len(batch.changes) + len(batch.dead_letters) + 1
        written = self.committer.apply(batch, [Advance(0, self.epoch, self.at, next_offset)])
        self.at = next_offset
        self.waiting.record_committed(batch.dead_letters, batch.superseding)
        return written

    def rows(self, *columns: str, order: str = "1") -> list[Mapping[str, Any]]:
        """Return the rows of the target table."""
        names = ", ".join(columns) or "*"
        query = f"SELECT {names} FROM {self._table.schema}.{self._table.name} ORDER BY {order}"
        return list(self.admin.execute(query.encode()).fetchall())

    def dead(self) -> list[Mapping[str, Any]]:
        """Return the dead letters; deferred events have the status PARKED."""
        return list(self.admin.execute("SELECT * FROM sink.dead_letter ORDER BY dlq_id").fetchall())

    def close(self) -> None:
        self.pipeline.close()
        self.admin.close()
