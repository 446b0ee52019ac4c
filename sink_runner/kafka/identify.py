"""Which topic is this?  A name alone does not tell: a topic may be deleted and created again."""

from __future__ import annotations

import time
from collections.abc import Callable

from kafka import KafkaAdminClient

from ..errors import ConfigError, FatalError
from ..target.offsets import Topic
from .asking import asking

WATCH_SECONDS = 15.0
"""How often a running mapping makes sure that its topic is the one that it started with."""


def identify(bootstrap: str, topic: str) -> Topic:
    """Ask Kafka for the identity of a topic.

    Raises ConfigError where there is no such topic, RetriableError where Kafka does not answer.
    """
    with asking():
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            cluster = admin.describe_cluster()["cluster_id"]
            found = admin.describe_topics([topic])[0]
        finally:
            admin.close()
    if found.get("error_code"):
        raise ConfigError(f"topic {topic!r} does not exist: create it with its partitions first")
    return Topic(cluster_id=cluster, name=topic, topic_id=str(found["topic_id"]))


class TopicWatch:
    """Notices under a running mapping that its topic is another one of the same name.

    The new topic's offsets begin at 0 again.  Once it holds as many records as were applied of the
    old one, the consumer would go on there, and all records before that would be skipped.
    """

    def __init__(
        self,
        mapping: str,
        topic: Topic,
        ask: Callable[[], Topic],
        *,
        seconds: float = WATCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`topic` is the one that the offsets are of, `ask` identifies it anew."""
        self._mapping = mapping
        self._topic = topic
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._checked = clock()

    def check_when_due(self) -> None:
        """As `check`, if the last check was long enough ago."""
        if self._clock() - self._checked >= self._seconds:
            self.check()

    def check(self) -> None:
        """Raise FatalError if the topic is not the one that the offsets are of any more.

        Raises RetriableError where Kafka does not answer.
        """
        try:
            now = self._ask()
        except ConfigError as fault:
            raise FatalError(f"topic {self._topic.name!r} was deleted: {self._remedy}") from fault
        self._checked = self._clock()
        if now.cluster_id != self._topic.cluster_id:
            raise FatalError(
                f"topic {now.name!r} is on Kafka cluster {now.cluster_id}, and the offsets are of "
                f"cluster {self._topic.cluster_id}: {self._remedy}"
            )
        if now.topic_id != self._topic.topic_id:
            raise FatalError(
                f"topic {now.name!r} was deleted and created again (its id was "
                f"{self._topic.topic_id} and is {now.topic_id}): {self._remedy}"
            )

    @property
    def _remedy(self) -> str:
        return (
            f"run `sink-runner batch {self._mapping} --full` for what the old topic held, and "
            "start the runner again: it reads the new topic from its first record"
        )
