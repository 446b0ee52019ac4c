"""Read the source in ranges of its key whose size follows the time that a chunk takes.

A range begins after the last key of the one before and ends with its own last row; the first is
open below and the last one above. So no row is in two ranges, and none is beyond the last.
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

_SECONDS = 0.5
_HASHES = 1_000_000
_FEWEST, _MOST = 100, 20_000


class RangeRows(NamedTuple):
    """The rows of a range and their digest, of one moment."""

    messages: list[Message]
    after: Bound
    until: Bound
    digest: str


class ChunkSize:
    """How many rows take about half a second, by the time that earlier ones have taken."""

    def __init__(self, rows: int) -> None:
        self.rows = min(max(rows, _FEWEST), _MOST)
        self._began = time.monotonic()

    def restart(self) -> None:
        self._began = time.monotonic()

    def adapt(self) -> None:
        """Follow the time since the last call, by at most a factor of two."""
        now = time.monotonic()
        factor = _SECONDS / max(now - self._began, 0.001)
        self.rows = min(max(int(self.rows * min(max(factor, 0.5), 2.0)), _FEWEST), _MOST)
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
    """Yield the rows that fulfil the condition, after a key; each chunk sees its own moment.

    A query cannot be continued after a key: it is read at once.
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
    """Yield the rows of a range in smaller ones, which cover it without a gap."""
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
    """Return the condition that a row is in a sample, another one at each call."""
    texts = ", ".join(f"r.{quoted(name)}::text" for name in key) or "r::text"
    seed = time.time_ns() % 2**31
    bound = round(percent / 100 * _HASHES)
    return (
        f"(hashtextextended(concat_ws(E'\\t', {texts}), {seed}) & 9223372036854775807) "
        f"% {_HASHES} < {bound}"
    )
