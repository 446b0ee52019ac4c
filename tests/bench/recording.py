"""Record changes that Debezium publishes once, for all later runs of the benchmark."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from psycopg import sql

from .stack import SOURCE, TARGET, BenchStack, Connection, count_recorded_events, read_sql

TOPIC = f"{SOURCE}.bench.account"
_CHANGES_PER_STEP = 10_000
_TIMEOUT_SECONDS = 900
_LAST_KEY = "SELECT id FROM bench.history ORDER BY revision DESC LIMIT 1"
_DIGEST = """
SELECT count(*), sum(revision), sum(hashtextextended(concat_ws('|',
  id, account_uuid, full_name, status, district_id, balance, income, is_verified, date_of_birth,
  created_at, updated_at, revision), 0))
FROM bench.account WHERE revision > 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The changes of the recorded topic, and the digest of the rows after all of them."""

    events: int
    accounts: int
    last_key: int
    """The account of the last change."""
    digest: tuple[object, ...]

    @staticmethod
    def digest_of(connection: Connection) -> tuple[object, ...]:
        """Return a digest of the changed rows without the masked columns."""
        row = connection.execute(_DIGEST).fetchone()
        assert row is not None
        return tuple(row)


def record(bench: BenchStack, events: int) -> None:
    """Insert the accounts before Debezium captures the table, then record changes of them."""
    with bench.connect_admin(SOURCE) as source:
        source.execute("SET synchronous_commit = off")
        insert_accounts(source, "account", first=1, last=events, step=1)
        source.execute("ALTER PUBLICATION sink_publication ADD TABLE bench.account")
        source.execute(read_sql("change").encode())
        for first in range(1, events + 1, _CHANGES_PER_STEP):
            last = min(first + _CHANGES_PER_STEP - 1, events)
            source.execute(f"CALL bench.change({first}, {last}, {events})".encode())
            bench.reporter.step(f"changed {last:,} of {events:,} rows")
    _wait_until_published(bench, events)
    bench.mark_recorded(events)


def load_recording(bench: BenchStack) -> Recording:
    """Describe the recording and copy its history into the target for the reference."""
    with bench.connect_admin(SOURCE) as source, bench.connect_admin(TARGET) as target:
        digest = Recording.digest_of(source)
        last = source.execute(_LAST_KEY).fetchone()
        accounts = source.execute("SELECT count(*) FROM bench.account").fetchone()
        assert last is not None
        assert accounts is not None
        target.execute("TRUNCATE bench.history")
        for block in read_history(source):
            with target.cursor().copy("COPY bench.history FROM STDIN") as copy:
                copy.write(block)
        target.execute("VACUUM ANALYZE bench.history")
    return Recording(
        events=count_recorded_events(),
        accounts=int(accounts[0]),
        last_key=int(last[0]),
        digest=digest,
    )


def read_history(source: Connection) -> list[bytes]:
    """Return the row after each change, in order, in the text format of COPY."""
    query = "COPY (SELECT * FROM bench.history ORDER BY revision) TO STDOUT"
    with source.cursor().copy(query) as copy:
        return [b"".join(bytes(part) for part in copy)]


def insert_accounts(
    connection: Connection, table: str, *, first: int, last: int, step: int
) -> None:
    """Insert accounts in their initial state into a table of schema bench."""
    query = sql.SQL(read_sql("insert_accounts")).format(table=sql.Identifier("bench", table))
    connection.execute(query, {"first": first, "last": last, "step": step})
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier("bench", table)))


def _count_published(bench: BenchStack) -> int:
    consumer = KafkaConsumer(bootstrap_servers=bench.env["SINK_KAFKA"])
    try:
        partition = TopicPartition(TOPIC, 0)
        end: int = consumer.end_offsets([partition])[partition]
    finally:
        consumer.close()
    return end


def _wait_until_published(bench: BenchStack, events: int) -> None:
    bound = time.monotonic() + _TIMEOUT_SECONDS
    while (published := _count_published(bench)) < events:
        if time.monotonic() > bound:
            raise TimeoutError(
                f"Debezium published {published:,} of {events:,} changes in {_TIMEOUT_SECONDS} s"
            )
        bench.reporter.step(f"Debezium published {published:,} of {events:,} changes")
        time.sleep(3)
