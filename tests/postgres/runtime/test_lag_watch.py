"""The lag of mappings without a running worker, from Kafka's offsets and the stored ones."""

from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.config.dsn import Dsn
from sink_runner.errors import RetriableError
from sink_runner.kafka.feed import Bounds
from sink_runner.model.status import Health
from sink_runner.runtime.lag_watch import LagWatch

pytestmark = pytest.mark.postgres


class FakeFeed:
    """The bounds of partitions, or an outage of Kafka."""

    def __init__(self) -> None:
        self.ends: dict[int, Bounds] = {}
        self.is_down = False
        self.attempts = 0

    def bounds(self, topics: Any) -> Mapping[str, Mapping[int, Bounds]]:
        if self.is_down:
            self.attempts += 1
            raise (TimeoutError if self.attempts == 1 else RetriableError)("no answer")
        return dict.fromkeys(topics, self.ends)

    def close(self) -> None:
        return


class WatchHarness:
    def __init__(self, target: Any) -> None:
        self.now = 1_800_000_000.0
        self.health = Health(clock=lambda: self.now)
        self.name = target.name
        self.mapping = self.health.mapping(self.name)
        self.admin = target.scratch.admin
        self.topic = target.mapping.source_table.topic
        self.feed = FakeFeed()
        targets = {target.mapping.target_table.database: Dsn.of(target.scratch.dsn)}
        self._watch = LagWatch({self.name: target.mapping}, targets, self.health)

    def apply(self, partition: int, next_offset: int | None, topic_id: str = "t") -> None:
        self.admin.execute(
            "INSERT INTO sink.partition_offset AS p "
            "(mapping, cluster_id, topic, topic_id, partition, next_offset, owner) "
            "VALUES (%s, 'c', %s, %s, %s, %s, 'me') "
            "ON CONFLICT (mapping, cluster_id, topic, topic_id, partition) "
            "DO UPDATE SET next_offset = excluded.next_offset, updated_at = clock_timestamp()",
            (self.name, self.topic, topic_id, partition, next_offset),
        )

    def observe(self) -> tuple[float | None, float | None]:
        self._watch.observe(self.feed)
        value = self.health.registry.get_sample_value
        labels = {"mapping": self.name}
        return value("sink_lag_events", labels), value("sink_lag_seconds", labels)


@pytest.fixture
def harness(written: Any) -> WatchHarness:
    return WatchHarness(written("id int PRIMARY KEY"))


@pytest.mark.parametrize("state", ["paused", "stopped", "quarantined"])
def test_lag_rises_while_mapping_does_not_run(harness: WatchHarness, state: str) -> None:
    harness.apply(0, 7)
    harness.feed.ends = {0: Bounds(0, 7)}
    getattr(harness.mapping, state)("a reason")
    assert harness.observe() == (0, 0)
    harness.now += 600
    assert harness.observe() == (0, 0), "there is no lag, however long the mapping is paused"
    harness.feed.ends = {0: Bounds(0, 9)}
    assert harness.observe() == (2, 0)
    harness.now += 61
    assert harness.observe() == (2, 61)
    harness.apply(0, 9)
    assert harness.observe() == (0, 0)


def test_unread_topic_lags_by_all_records(harness: WatchHarness) -> None:
    harness.feed.ends = {0: Bounds(100, 130), 1: Bounds(0, 0)}
    assert harness.observe() == (30, 0)
    harness.apply(0, None)
    harness.now += 5
    assert harness.observe() == (30, 5)


def test_commits_of_other_runners_count(harness: WatchHarness) -> None:
    """Two runners share the partitions; each one reports the lag of the mapping."""
    harness.apply(0, 5)
    harness.apply(1, 5)
    harness.feed.ends = {0: Bounds(0, 8), 1: Bounds(0, 6)}
    assert harness.observe()[0] == 4
    harness.apply(1, 6)
    assert harness.observe()[0] == 3


def test_offsets_of_recreated_topic_are_separate(harness: WatchHarness) -> None:
    harness.apply(0, 5_000, topic_id="old")
    harness.apply(0, 3, topic_id="new")
    harness.feed.ends = {0: Bounds(0, 4)}
    assert harness.observe()[0] == 1


def test_lag_rises_while_kafka_is_down(harness: WatchHarness) -> None:
    harness.apply(0, 5)
    harness.feed.ends = {0: Bounds(0, 6)}
    harness.observe()
    harness.feed.is_down = True
    harness.now += 30
    with capture_logs() as logs:
        assert harness.observe() == (1, 30)
        harness.observe()
    assert [line["event"] for line in logs] == ["lag_read_failed"], "the outage must be logged once"
