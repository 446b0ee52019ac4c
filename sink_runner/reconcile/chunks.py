"""Read the source in ranges of its key, sized so that each takes about half a second.

A range begins after the last key of the previous one and ends with its own last row. The first has
no lower bound and the last no upper bound, so every row is in exactly one range.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from ..batch.plan import BatchPipeline
from ..batch.snapshot import Connection
from ..model.clock import clock
from ..model.message import Message
from ..model.portions import first_portion, portions
from ..postgres.catalog import quoted
from .digests import Bound, Digests

_CHUNK_SECONDS = 0.5
_SAMPLE_BUCKETS = 1_000_000
_MIN_ROWS, _MAX_ROWS = 100, 20_000


class RangeRows(NamedTuple):
    """The rows of a range and their digest, read in one snapshot."""

    messages: list[Message]
    after: Bound
    until: Bound
    digest: str


class ChunkSize:
    """The number of rows to read in about half a second, estimated from the previous chunks."""

    def __init__(self, rows: int) -> None:
        self.rows = min(max(rows, _MIN_ROWS), _MAX_ROWS)
        self._began = time.monotonic()

    def restart(self) -> None:
        self._began = time.monotonic()

    def adapt(self) -> None:
        """Adapt the size to the time since the last call, by at most a factor of two."""
        now = time.monotonic()
        factor = _CHUNK_SECONDS / max(now - self._began, 0.001)
        self.rows = min(max(int(self.rows * min(max(factor, 0.5), 2.0)), _MIN_ROWS), _MAX_ROWS)
        self._began = now


def read_chunks(
    batch: BatchPipeline,
    reader: Connection,
    condition: str,
    since: str,
    after: Sequence[str] = (),
    *,
    size: ChunkSize,
) -> Iterator[list[Message]]:
    """Yield the rows that fulfil the condition, after a key; each chunk has its own snapshot.

    A mapping's query has no key to continue after: one statement reads all its rows.
    """
    rows = batch.source.format
    head = rows.head(0, clock())
    if not rows.key:
        with closing(batch.source.lines(reader, condition, since)) as lines:
            for chunk in portions(lines, len, batch.chunk_bytes, batch.chunk_rows):
                yield [rows.message(head, line, n) for n, line in enumerate(chunk)]
        return
    while True:
        with closing(batch.source.lines(reader, condition, since, after, most=size.rows)) as lines:
            chunk = first_portion(lines, len, batch.chunk_bytes)
        if not chunk:
            return
        messages = [rows.message(head, line, n) for n, line in enumerate(chunk)]
        after = rows.key_of(messages[-1])
        yield messages


def read_range(
    batch: BatchPipeline,
    reader: Connection,
    digests: Digests,
    after: Bound,
    until: Bound,
    *,
    size: ChunkSize,
) -> Iterator[RangeRows]:
    """Yield a range as smaller ranges that cover it without a gap."""
    source, rows, is_last = batch.source, batch.source.format, False
    condition = source.up_to(until) if until else "true"
    head = rows.head(0, clock())
    while not is_last:
        with reader.transaction():
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            lines = source.lines(reader, condition, after=after or (), most=size.rows)
            with closing(lines):
                parts = portions(lines, len, batch.chunk_bytes)
                chunk, rest = next(parts, []), next(parts, None)
            is_last = rest is None and len(chunk) < size.rows
            messages = [rows.message(head, line, n) for n, line in enumerate(chunk)]
            end = until if is_last else rows.key_of(messages[-1])
            _, digest = digests.source.digest(reader, after, end)
        yield RangeRows(messages, after, end, digest)
        after = end


def sample_condition(key: Sequence[str], percent: float) -> str:
    """Return an SQL condition that selects a random sample of the rows, new at each call."""
    texts = ", ".join(f"r.{quoted(name)}::text" for name in key) or "r::text"
    seed = time.time_ns() % 2**31
    bound = round(percent / 100 * _SAMPLE_BUCKETS)
    return (
        f"(hashtextextended(concat_ws(E'\\t', {texts}), {seed}) & 9223372036854775807) "
        f"% {_SAMPLE_BUCKETS} < {bound}"
    )
