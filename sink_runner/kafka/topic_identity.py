"""Check that a topic is the one whose records were applied.

The name is not enough: a topic may be deleted and created again, and a partition's log may lose its
end and grow past it with other records.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import AccessError, ConfigError, FatalError
from ..model.message import NO_LEADER_EPOCH
from ..model.partition import Topic
from .connection import KafkaConnection
from .offset_queries import EpochEnd, admin_client, describe_topic

WATCH_SECONDS = 15.0
"""How often a running mapping checks that its topic is the one that it started with."""


def identify(connection: KafkaConnection, topic: str) -> Topic:
    """Ask Kafka for the identity of a topic.

    Raises ConfigError where there is no such topic, AccessError where Kafka refuses the client,
    RetriableError where it does not answer.
    """
    with admin_client(connection) as admin:
        cluster = admin.describe_cluster()["cluster_id"]
        found = describe_topic(admin, topic)
    if found is None:
        raise ConfigError(f"topic {topic!r} does not exist: create it with its partitions first")
    return Topic(cluster_id=cluster, name=topic, topic_id=str(found["topic_id"]))


class TopicWatch:
    """Detects that the topic of a running mapping was replaced by another of its name.

    The offsets of the new topic begin at 0.  Once it has as many records as were applied of the old
    one, the consumer would continue there and skip all of its earlier records.
    """

    def __init__(
        self,
        mapping: str,
        topic: Topic,
        identify: Callable[[], Topic],
        epoch_end: Callable[[int, int], EpochEnd],
        *,
        seconds: float = WATCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`topic` is the topic of the offsets, `identify` returns the current one, `epoch_end`
        the offset at which a leader epoch of a partition ends."""
        self._mapping = mapping
        self.topic = topic
        self._identify = identify
        self._epoch_end = epoch_end
        self._seconds = seconds
        self._clock = clock
        self._checked = clock()

    def check_when_due(self) -> None:
        """As `check`, if the last check was long enough ago."""
        if self._clock() - self._checked >= self._seconds:
            self.check()

    def check(self) -> None:
        """Raise FatalError if the topic is not the one that the offsets are of any more.

        Raises AccessError and RetriableError where Kafka does not answer.
        """
        try:
            now = self._identify()
        except AccessError:
            raise
        except ConfigError as fault:
            raise FatalError(f"topic {self.topic.name!r} was deleted: {self._remedy}") from fault
        self._checked = self._clock()
        if now.cluster_id != self.topic.cluster_id:
            raise FatalError(
                f"topic {now.name!r} is on Kafka cluster {now.cluster_id}, and the offsets are of "
                f"cluster {self.topic.cluster_id}: {self._remedy}"
            )
        if now.topic_id != self.topic.topic_id:
            raise FatalError(
                f"topic {now.name!r} was deleted and created again (its id was "
                f"{self.topic.topic_id} and is {now.topic_id}): {self._remedy}"
            )

    def check_log(self, partition: int, applied: int, leader_epoch: int) -> None:
        """As `check`, and FatalError if the partition no longer holds what was applied of it.

        After an unclean leader election, or with a restored disk, its log is shorter.  Once it has
        grown past `applied`, only the leader epoch of the last applied record shows the loss.
        Nothing is checked where that epoch is unknown.
        """
        self.check()
        if leader_epoch == NO_LEADER_EPOCH:
            return
        epoch, end = self._epoch_end(partition, leader_epoch)
        if epoch == leader_epoch and end >= applied:
            return
        found, restart = "holds no record of that epoch", "NULL"
        if epoch == leader_epoch:
            found, restart = f"ends that epoch at offset {end}", str(end)
        raise FatalError(
            f"Kafka lost records of topic {self.topic.name!r} that were applied: the target has "
            f"applied partition {partition} up to offset {applied}, lastly of leader epoch "
            f"{leader_epoch}, and Kafka's log {found}.  Other records may have taken their "
            "offsets.  Run in the target database: UPDATE sink.partition_offset "
            f"SET next_offset = {restart}, leader_epoch = {NO_LEADER_EPOCH} "
            f"WHERE (mapping, topic_id, partition) = "
            f"('{self._mapping}', '{self.topic.topic_id}', {partition}); then run "
            f"`sink-runner batch {self._mapping} --full` for what Kafka lost, and start the "
            "runner again"
        )

    @property
    def _remedy(self) -> str:
        return (
            f"run `sink-runner batch {self._mapping} --full` for what the old topic held, and "
            "start the runner again: it reads the new topic from its first record"
        )
