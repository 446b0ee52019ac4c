"""The orders in which events of several partitions can be delivered."""

from collections.abc import Iterator, Sequence
from typing import Any


def interleavings(queues: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Yield every order of all items that keeps the order within each queue."""
    if not any(queues):
        yield []
    for n, queue in enumerate(queues):
        if queue:
            rest = [*queues[:n], queue[1:], *queues[n + 1 :]]
            yield from ([queue[0], *more] for more in interleavings(rest))
