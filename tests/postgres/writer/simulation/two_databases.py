"""A seeded simulator of two databases with a mapping in each direction.

Clocks are skewed, runners crash, and offsets are reset. Databases, pipeline and writers are real. A
trigger writes the change log in place of Debezium and Kafka, so a seed reproduces an interleaving.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from sink_runner.errors import RetriableError
from sink_runner.model.partition import Advance
from sink_runner.testing import NOW, Sample, TargetHarness

KEYS = 3
MAX_EVENTS = 6  # per batch
DDL = """
CREATE SCHEMA sim;
CREATE TABLE sim.t (id int PRIMARY KEY, v text NOT NULL, at timestamp NOT NULL);
CREATE TABLE sim.log (n bigserial PRIMARY KEY, op text, before jsonb, after jsonb, origin text);
CREATE FUNCTION sim.capture() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sim.log (op, before, after, origin)
  VALUES (CASE TG_OP WHEN 'INSERT' THEN 'c' ELSE 'u' END,
          CASE TG_OP WHEN 'UPDATE' THEN to_jsonb(OLD) END, to_jsonb(NEW),
          'sink/' || nullif(split_part(current_setting('application_name'), ' ', 2), '') || '/0');
  RETURN NULL;
END $$;
CREATE TRIGGER capture AFTER INSERT OR UPDATE ON sim.t
FOR EACH ROW EXECUTE FUNCTION sim.capture();
GRANT USAGE ON SCHEMA sim TO sink_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON sim.t TO sink_writer;
"""
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_{source}.sim.t", target="smart_{target}.sim.t", key=("id",),
        conflict=newest_wins("at"), needs_before_image=True,
        conflict_detection=ConflictDetection(tie=Tie.{tie}),
        on_delete=Review(),
        columns=(Column("id", required=True), Column("v"), Column("at", required=True)),
    )
"""
# The version of a row never decreases, whatever the clock says.
_WRITE = """
INSERT INTO sim.t AS t VALUES (%(id)s, %(v)s, %(at)s)
ON CONFLICT (id) DO UPDATE
SET v = excluded.v, at = greatest(excluded.at, t.at + interval '1 second')
"""
_REWIND = "UPDATE sink.partition_offset SET next_offset = %s"


class Side:
    """One of the databases, and its clock."""

    def __init__(self, dsn: str, skew: int) -> None:
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.skew = timedelta(seconds=skew)

    def write(self, key: int, value: str, now: datetime) -> None:
        self.admin.execute(_WRITE, {"id": key, "v": value, "at": now + self.skew})

    def log(self) -> list[Sample]:
        query = "SELECT op, after, before, n, origin FROM sim.log ORDER BY n"
        return [
            Sample(op, _row(after), _row(before), position=n, origin=origin)
            for op, after, before, n, origin in self.admin.execute(query).fetchall()
        ]

    def rows(self) -> list[tuple[Any, ...]]:
        return self.admin.execute("SELECT * FROM sim.t ORDER BY id").fetchall()


class Direction:
    """The mapping of one direction; its runner can crash and restart."""

    def __init__(self, source: Side, target: Side, start: Callable[[], TargetHarness]) -> None:
        self._source = source
        self._target = target
        self._start = start
        self._harness = start()
        self._at = 0

    def restart(self) -> None:
        self._harness.close()
        self._harness = self._start()
        self._at = self._harness.at or 0

    def rewind(self, share: float) -> None:
        """Set the stored offsets back to this share, so that later events are applied again."""
        self._target.admin.execute(_REWIND, [int(self._at * share)])
        self.restart()

    def deliver(self, limit: int, fate: str = "survives") -> int:
        """Apply the next events and return their number."""
        samples = self._source.log()[self._at : self._at + limit]
        if not samples:
            return 0
        harness = self._harness
        batch = harness.prepare(harness.messages(*samples))
        assert not batch.dead_letters
        end = self._at + len(samples)
        steps = [Advance(0, harness.epoch, self._at or harness.at, end)]
        match fate:
            case "crashes before its commit":
                write = harness.committer._writer.write
                harness.committer._writer.write = _crashing(write)
                try:
                    harness.committer.apply(batch, steps)
                except RetriableError:
                    self.restart()
                    return len(samples)
                harness.committer._writer.write = write  # the batch had nothing to write
            case "loses the answer to its commit":
                harness.committer.apply(batch, steps)
                assert harness.committer.apply(batch, steps, again=True) == 0
            case "crashes after its commit":
                harness.committer.apply(batch, steps)
                self.restart()
            case _:
                harness.committer.apply(batch, steps)
        harness.at = self._at = end
        return len(samples)

    def close(self) -> None:
        self._harness.close()


FATES = ("survives",) * 6 + (
    "crashes before its commit",
    "loses the answer to its commit",
    "crashes after its commit",
)


def play(sides: Sequence[Side], directions: Sequence[Direction], seed: int, steps: int) -> int:
    """Take random steps, then deliver all events; return the number of events delivered then."""
    rng = random.Random(seed)
    for step in range(steps):
        # Four steps share a second, so both sides often have equal versions.
        now = NOW + timedelta(seconds=step // 4)
        direction = rng.choice(directions)
        match rng.choices(("write", "deliver", "restart", "rewind"), (6, 5, 1, 1))[0]:
            case "write":
                number = rng.randrange(len(sides))
                sides[number].write(rng.randrange(KEYS), f"{number}/{step}", now)
            case "deliver":
                direction.deliver(rng.randint(1, MAX_EVENTS), rng.choice(FATES))
            case "restart":
                direction.restart()
            case "rewind":
                direction.rewind(rng.random())
    return _drain(directions)


def _drain(directions: Sequence[Direction]) -> int:
    total = 0
    for turn in itertools.count():
        delivered = sum(direction.deliver(1_000) for direction in directions)
        if not delivered:
            return total
        total += delivered
        assert turn < 10, "the mappings keep sending changes to each other"
    raise AssertionError


def _crashing(write: Callable[..., int]) -> Callable[..., int]:
    def crashing(*arguments: Any) -> int:
        write(*arguments)
        raise RetriableError("killed")

    return crashing


def _row(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return values | {"at": datetime.fromisoformat(values["at"])}
