"""The lag of mappings whose worker does not run, by Kafka's and the target's own account."""

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


class Logs:
    """Kafka, as far as it is asked."""

    def __init__(self) -> None:
        self.ends: dict[int, Bounds] = {}
        self.away = False

    def bounds(self, topics: Any) -> Mapping[str, Mapping[int, Bounds]]:
        if self.away:
            raise RetriableError("Kafka does not answer")
        return dict.fromkeys(topics, self.ends)

    def close(self) -> None:
        return


class Scene:
    def __init__(self, made: Any) -> None:
        self.now = 1_800_000_000.0
        self.health = Health(clock=lambda: self.now)
        self.name = made.name
        self.mapping = self.health.mapping(self.name)
        self.admin = made.scratch.admin
        self.topic = made.mapping.source_table.topic
        self.logs = Logs()
        targets = {made.mapping.target_table.database: Dsn.of(made.scratch.dsn)}
        self._watch = LagWatch({self.name: made.mapping}, targets, self.health)

    def apply(self, partition: int, next_offset: int | None, topic_id: str = "t") -> None:
        self.admin.execute(
            "INSERT INTO sink.partition_offset AS p "
            "(mapping, cluster_id, topic, topic_id, partition, next_offset, owner) "
            "VALUES (%s, 'c', %s, %s, %s, %s, 'me') "
            "ON CONFLICT (mapping, cluster_id, topic, topic_id, partition) "
            "DO UPDATE SET next_offset = excluded.next_offset, updated_at = clock_timestamp()",
            (self.name, self.topic, topic_id, partition, next_offset),
        )

    def look(self) -> tuple[float | None, float | None]:
        self._watch.observe(self.logs)
        value = self.health.registry.get_sample_value
        labels = {"mapping": self.name}
        return value("sink_lag_events", labels), value("sink_lag_seconds", labels)


@pytest.fixture
def scene(written: Any) -> Scene:
    return Scene(written("id int PRIMARY KEY"))


@pytest.mark.parametrize("state", ["paused", "stopped", "quarantined"])
def test_lag_rises_while_mapping_does_not_run(scene: Scene, state: str) -> None:
    scene.apply(0, 7)
    scene.logs.ends = {0: Bounds(0, 7)}
    getattr(scene.mapping, state)("a reason")
    assert scene.look() == (0, 0)
    scene.now += 600
    assert scene.look() == (0, 0), "nothing is left, however long it is paused"
    scene.logs.ends = {0: Bounds(0, 9)}
    assert scene.look() == (2, 0)
    scene.now += 61
    assert scene.look() == (2, 61)
    scene.apply(0, 9)
    assert scene.look() == (0, 0)


def test_topic_that_was_never_read_lags_whole(scene: Scene) -> None:
    scene.logs.ends = {0: Bounds(100, 130), 1: Bounds(0, 0)}
    assert scene.look() == (30, 0)
    scene.apply(0, None)
    scene.now += 5
    assert scene.look() == (30, 5)


def test_other_runners_commits_are_seen(scene: Scene) -> None:
    """Two runners share the partitions; either knows the lag of the mapping."""
    scene.apply(0, 5)
    scene.apply(1, 5)
    scene.logs.ends = {0: Bounds(0, 8), 1: Bounds(0, 6)}
    assert scene.look()[0] == 4
    scene.apply(1, 6)
    assert scene.look()[0] == 3


def test_topic_created_again_is_another_one(scene: Scene) -> None:
    scene.apply(0, 5_000, topic_id="old")
    scene.apply(0, 3, topic_id="new")
    scene.logs.ends = {0: Bounds(0, 4)}
    assert scene.look()[0] == 1


def test_lag_rises_while_kafka_is_away(scene: Scene) -> None:
    scene.apply(0, 5)
    scene.logs.ends = {0: Bounds(0, 6)}
    scene.look()
    scene.logs.away = True
    scene.now += 30
    with capture_logs() as logs:
        assert scene.look() == (1, 30)
        scene.look()
    assert [line["event"] for line in logs] == ["lag_read_failed"], "once for each outage"
