"""Real changes, published once by the real Debezium and kept for every later run."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from psycopg import sql

from .home import SOURCE, TARGET, Connection, Home, recorded, script

TOPIC = f"{SOURCE}.bench.account"
_STEP = 10_000
_SECONDS = 900
_LAST = "SELECT id FROM bench.history ORDER BY revision DESC LIMIT 1"
_DIGEST = """
SELECT count(*), sum(revision), sum(hashtextextended(concat_ws('|',
  id, account_uuid, full_name, status, district_id, balance, income, is_verified, date_of_birth,
  created_at, updated_at, revision), 0))
FROM bench.account WHERE revision > 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The changes of a topic, and what a target holds once all of them are applied."""

    events: int
    accounts: int
    last_key: int
    """The account of the last change."""
    digest: tuple[object, ...]

    @staticmethod
    def digest_of(connection: Connection) -> tuple[object, ...]:
        """What two tables have in common if they hold the same changed rows, masks aside."""
        found = connection.execute(_DIGEST).fetchone()
        assert found is not None
        return tuple(found)


def record(home: Home, events: int) -> None:
    """Fill the source table unseen, then change it while Debezium reads along."""
    with home.admin(SOURCE) as source:
        source.execute("SET synchronous_commit = off")
        fill(source, "account", first=1, last=events, step=1)
        source.execute("ALTER PUBLICATION sink_publication ADD TABLE bench.account")
        source.execute(script("change").encode())
        for first in range(1, events + 1, _STEP):
            last = min(first + _STEP - 1, events)
            source.execute(f"CALL bench.change({first}, {last}, {events})".encode())
            home.reporter.step(f"changed {last:,} of {events:,} rows")
    _await_published(home, events)
    home.mark_recorded(events)


def load(home: Home) -> Recording:
    """Describe what is recorded and stage its rows in the target for the reference."""
    with home.admin(SOURCE) as source, home.admin(TARGET) as target:
        digest = Recording.digest_of(source)
        last = source.execute(_LAST).fetchone()
        accounts = source.execute("SELECT count(*) FROM bench.account").fetchone()
        assert last is not None
        assert accounts is not None
        target.execute("TRUNCATE bench.recorded")
        for block in history(source):
            with target.cursor().copy("COPY bench.recorded FROM STDIN") as copy:
                copy.write(block)
        target.execute("VACUUM ANALYZE bench.recorded")
    return Recording(
        events=recorded(), accounts=int(accounts[0]), last_key=int(last[0]), digest=digest
    )


def history(source: Connection) -> list[bytes]:
    """The rows that the changes left behind, in their order, as text for COPY."""
    query = "COPY (SELECT * FROM bench.history ORDER BY revision) TO STDOUT"
    with source.cursor().copy(query) as copy:
        return [b"".join(bytes(part) for part in copy)]


def fill(connection: Connection, table: str, *, first: int, last: int, step: int) -> None:
    """Put accounts without any change into a table of schema bench."""
    query = sql.SQL(script("fill")).format(table=sql.Identifier("bench", table))
    connection.execute(query, {"first": first, "last": last, "step": step})
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier("bench", table)))


def _published(home: Home) -> int:
    consumer = KafkaConsumer(bootstrap_servers=home.env["SINK_KAFKA"])
    try:
        place = TopicPartition(TOPIC, 0)
        end: int = consumer.end_offsets([place])[place]
    finally:
        consumer.close()
    return end


def _await_published(home: Home, events: int) -> None:
    bound = time.monotonic() + _SECONDS
    while (done := _published(home)) < events:
        if time.monotonic() > bound:
            raise TimeoutError(f"Debezium published {done:,} of {events:,} changes")
        home.reporter.step(f"Debezium published {done:,} of {events:,}")
        time.sleep(3)
