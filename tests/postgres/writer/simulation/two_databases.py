"""A seeded simulator of two databases that feed each other: skewed clocks, crashes and replays.

The databases, the chain and what writes are real; what carries a change from one to the other is
a log that a trigger keeps, so that every interleaving can be had, and had again by its seed.
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
MOST = 6  # events of a batch
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
# Whatever the clock says, a row's version never goes backwards.
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
    """A mapping between the two; it dies and comes back as runners do."""

    def __init__(self, source: Side, target: Side, start: Callable[[], TargetHarness]) -> None:
        self._source = source
        self._target = target
        self._start = start
        self._sink = start()
        self._at = 0

    def restart(self) -> None:
        self._sink.close()
        self._sink = self._start()
        self._at = self._sink.at or 0

    def rewind(self, to: float) -> None:
        """Somebody sets the offsets back, and all of it comes again."""
        self._target.admin.execute(_REWIND, [int(self._at * to)])
        self.restart()

    def deliver(self, most: int, fate: str = "lives") -> int:
        """Apply the next events; return how many there were."""
        samples = self._source.log()[self._at : self._at + most]
        if not samples:
            return 0
        sink = self._sink
        batch = sink.prepare(sink.messages(*samples))
        assert not batch.dead_letters
        ends = self._at + len(samples)
        steps = [Advance(0, sink.epoch, self._at or sink.at, ends)]
        match fate:
            case "dies before its commit":
                write = sink.committer._writer.write
                sink.committer._writer.write = _dying(write)
                try:
                    sink.committer.apply(batch, steps)
                except RetriableError:
                    self.restart()
                    return len(samples)
                sink.committer._writer.write = write  # nothing was to be written
            case "misses the answer to its commit":
                sink.committer.apply(batch, steps)
                assert sink.committer.apply(batch, steps, again=True) == 0
            case "dies after its commit":
                sink.committer.apply(batch, steps)
                self.restart()
            case _:
                sink.committer.apply(batch, steps)
        sink.at = self._at = ends
        return len(samples)

    def close(self) -> None:
        self._sink.close()


FATES = ("lives",) * 6 + (
    "dies before its commit",
    "misses the answer to its commit",
    "dies after its commit",
)


def play(sides: Sequence[Side], directions: Sequence[Direction], seed: int, steps: int) -> int:
    """Let things happen, then let both come to rest; return how many events that took."""
    drawn = random.Random(seed)
    for step in range(steps):
        # Several changes of a second: the versions of both sides are often the same.
        now = NOW + timedelta(seconds=step // 4)
        direction = drawn.choice(directions)
        match drawn.choices(("write", "deliver", "restart", "rewind"), (6, 5, 1, 1))[0]:
            case "write":
                number = drawn.randrange(len(sides))
                sides[number].write(drawn.randrange(KEYS), f"{number}/{step}", now)
            case "deliver":
                direction.deliver(drawn.randint(1, MOST), drawn.choice(FATES))
            case "restart":
                direction.restart()
            case "rewind":
                direction.rewind(drawn.random())
    return _rest(directions)


def _rest(directions: Sequence[Direction]) -> int:
    total = 0
    for turn in itertools.count():
        delivered = sum(direction.deliver(1_000) for direction in directions)
        if not delivered:
            return total
        total += delivered
        assert turn < 10, "the traffic does not rest"
    raise AssertionError


def _dying(write: Callable[..., int]) -> Callable[..., int]:
    def dying(*given: Any) -> int:
        write(*given)
        raise RetriableError("killed")

    return dying


def _row(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return values | {"at": datetime.fromisoformat(values["at"])}
