"""Recovery deletes the stored positions of a lost log, and no other state."""

from typing import Any

import pytest

from sink_runner.kafka.feed import Bounds
from sink_runner.model.partition import Topic
from sink_runner.plugin import Column, Derived, TableMapping, newest_wins, source_wins
from sink_runner.recovery.positions import (
    compares_positions,
    count_missing,
    count_unapplied,
    forget,
    offsets,
)

DEAD_LETTER = """
INSERT INTO sink.dead_letter (flow, partition, "offset", error_class, error_message, stack_trace,
                      source_data, key_id, plugin_version, status)
VALUES (%s, %s, 1, 'E', 'm', 't', 'x', 'k', '1', %s) RETURNING dlq_id
"""


def mapping(**declared: Any) -> TableMapping:
    defaults = {"source": "north.public.a", "target": "south.public.a", "key": ("id",)}
    columns = (Column("id"), Column("at"), Column("family"))
    return TableMapping(**defaults | {"columns": columns, "conflict": source_wins()} | declared)


def test_lag_is_counted_from_target_offset() -> None:
    bounds = {0: Bounds(0, 10), 1: Bounds(5, 7), 2: Bounds(3, 3)}
    assert count_unapplied({0: 4, 1: None}, bounds) == 6 + 2
    assert count_unapplied({0: 10, 1: 7, 2: 3}, bounds) == 0


def test_records_deleted_before_applied_are_missing() -> None:
    bounds = {0: Bounds(8, 10), 1: Bounds(0, 7)}
    assert count_missing({0: 5, 1: 0}, bounds) == 3
    assert count_missing({0: 8, 1: 7}, bounds) == 0
    assert count_missing({}, bounds) == 8


def test_positions_are_compared_without_source_time() -> None:
    assert compares_positions(mapping())
    assert not compares_positions(mapping(conflict=newest_wins("at")))
    candidates = Derived(key=("id",), group=("family",), select="SELECT 1")
    assert compares_positions(mapping(conflict=newest_wins("at"), derived=candidates))


@pytest.mark.postgres
class TestForget:
    @pytest.fixture
    def connection(self, scratch: Any) -> Any:
        """A session that is rolled back after the test, because other tests use the same tables."""
        session = scratch.session()
        with session.transaction(force_rollback=True):
            yield session

    def store_position(self, connection: Any, name: str) -> None:
        connection.execute(
            "INSERT INTO sink.row_version (mapping, key, position) VALUES (%s, '[1]', 99)", (name,)
        )

    def test_positions_of_one_mapping_are_deleted(self, connection: Any) -> None:
        self.store_position(connection, "lost")
        self.store_position(connection, "other")
        assert forget(connection, "lost", mapping()).positions == 1
        remaining = "SELECT mapping FROM sink.row_version WHERE mapping IN ('lost', 'other')"
        assert connection.execute(remaining).fetchall() == [("other",)]

    def test_dead_letters_with_lost_positions_are_discarded(self, connection: Any) -> None:
        """A full batch run reads their rows again; a dead letter of a batch run has no position."""
        ids = [
            connection.execute(DEAD_LETTER, values).fetchone()[0]
            for values in (("lost", 0, "OPEN"), ("lost", 1, "PARKED"), ("lost", None, "OPEN"))
        ]
        forgotten = forget(connection, "lost", mapping())
        assert (forgotten.dead_letters, forgotten.left) == (2, 0)
        statuses = "SELECT status FROM sink.dead_letter WHERE dlq_id = ANY (%s) ORDER BY dlq_id"
        found = [status for (status,) in connection.execute(statuses, (ids,))]
        assert found == ["DISCARDED", "DISCARDED", "OPEN"]

    def test_dead_letters_with_source_time_stay(self, connection: Any) -> None:
        connection.execute(DEAD_LETTER, ("lost", 0, "PARKED"))
        forgotten = forget(connection, "lost", mapping(conflict=newest_wins("at")))
        assert (forgotten.dead_letters, forgotten.left) == (0, 1)

    def test_positions_of_candidates_are_reset(self, connection: Any) -> None:
        connection.execute(
            "CREATE TABLE sink.candidates_lost (id int, _position bigint NOT NULL, "
            "_ordinal bigint NOT NULL DEFAULT 0)"
        )
        connection.execute("INSERT INTO sink.candidates_lost VALUES (1, 99, 4), (2, 5, 0)")
        candidates = Derived(key=("id",), group=("family",), select="SELECT 1")
        assert forget(connection, "lost", mapping(derived=candidates)).positions == 2
        highest = connection.execute("SELECT max(_position) FROM sink.candidates_lost").fetchone()
        assert highest == (0,)

    def test_offsets_of_recreated_topic_are_separate(self, connection: Any) -> None:
        for topic_id, offset in (("one", 5), ("two", 6)):
            connection.execute(
                "INSERT INTO sink.partition_offset "
                "(mapping, cluster_id, topic, topic_id, partition, next_offset, owner) "
                "VALUES ('lost', 'c', 't', %s, 0, %s, 'o')",
                (topic_id, offset),
            )
        assert offsets(connection, "lost", Topic("c", "t", "two")) == {0: 6}
