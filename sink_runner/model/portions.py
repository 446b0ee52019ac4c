"""Split rows and records into portions, so that memory is bounded by bytes, not only by rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from .message import Message

T = TypeVar("T")

DEFAULT_BYTES = 8 * 1024 * 1024


def portions(
    items: Iterable[T], size: Callable[[T], int], max_bytes: int, max_items: float = float("inf")
) -> Iterator[list[T]]:
    """Yield the items in lists of at most `max_bytes`; a larger item is alone in its list."""
    portion, held = list[T](), 0
    for item in items:
        added = size(item)
        if portion and (held + added > max_bytes or len(portion) >= max_items):
            yield portion
            portion, held = [], 0
        portion.append(item)
        held += added
    if portion:
        yield portion


def first_portion(items: Iterable[T], size: Callable[[T], int], max_bytes: int) -> list[T]:
    """Return the first items, together at most `max_bytes`; at least one if there is any."""
    return next(portions(items, size, max_bytes), [])


def byte_size(message: Message) -> int:
    """Count the bytes of a record's key and value."""
    return len(message.key or b"") + len(message.value or b"")


def record_portions(
    records: Mapping[int, Sequence[Message]], max_bytes: int
) -> Iterator[Mapping[int, Sequence[Message]]]:
    """Split the records of a poll, by partition, into portions that keep each partition's order."""
    if sum(map(byte_size, chain.from_iterable(records.values()))) <= max_bytes:
        yield records
        return
    for part in portions(chain.from_iterable(records.values()), byte_size, max_bytes):
        found: dict[int, list[Message]] = defaultdict(list)
        for message in part:
            found[message.partition].append(message)
        yield found
