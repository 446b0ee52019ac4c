"""Check that Kafka still has the applied records of a topic, and those after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from ..model.message import Message
from ..model.partition import Claim
from .feed import Bounds
from .gaps import Gaps
from .topic_identity import TopicWatch

T = TypeVar("T")


class Retry(Protocol):
    """Calls `work` until Kafka answers."""

    def __call__(self, work: Callable[[], T]) -> T: ...


class LogChecks:
    """The checks of one worker's partitions; each raises FatalError if it fails."""

    def __init__(
        self,
        mapping: str,
        *,
        watch: TopicWatch,
        bounds: Callable[[int], Bounds],
        retry: Retry,
        log: Any,
    ) -> None:
        self.watch = watch
        self._retry = retry
        self._gaps = Gaps(mapping, watch.topic, lambda at: retry(partial(bounds, at)), log)

    def check_when_due(self) -> None:
        """Check that the topic is the one of the offsets, if the last check was long enough ago."""
        self._retry(self.watch.check_when_due)

    def check_topic(self) -> None:
        """Check that the topic is the one of the offsets."""
        self._retry(self.watch.check)

    def check_claim(self, partition: int, claim: Claim) -> None:
        """Check that Kafka lost no record before the claimed offset, and has the next one."""
        self.check_log(partition, claim.next_offset, claim.leader_epoch)
        self._gaps.check_first(partition, claim.next_offset)

    def check_log(self, partition: int, applied: int | None, leader_epoch: int) -> None:
        """Check that Kafka lost no record before offset `applied`."""
        if applied is not None:
            self._retry(partial(self.watch.check_log, partition, applied, leader_epoch))
        self._gaps.check_end(partition, applied)

    def check_epochs(self, partition: int, claim: Claim, part: Sequence[Message]) -> None:
        """Before records of another leader epoch are applied, check that none before was lost."""
        if part[-1].leader_epoch == claim.leader_epoch:
            return
        self.check_log(partition, claim.next_offset, claim.leader_epoch)
        for last, first in pairwise(part):
            if last.leader_epoch != first.leader_epoch:
                self.check_log(partition, first.offset, last.leader_epoch)

    def passes(self, partition: int, expected: int | None, offset: int) -> bool:
        """See `Gaps.passes`."""
        return self._gaps.passes(partition, expected, offset)
