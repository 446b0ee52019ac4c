"""What is remembered of a lost log is forgotten, and nothing else."""

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
    usual = {"source": "north.public.a", "target": "south.public.a", "key": ("id",)}
    columns = (Column("id"), Column("at"), Column("family"))
    return TableMapping(**usual | {"columns": columns, "conflict": source_wins()} | declared)


def test_lag_is_counted_from_target_offset() -> None:
    held = {0: Bounds(0, 10), 1: Bounds(5, 7), 2: Bounds(3, 3)}
    assert count_unapplied({0: 4, 1: None}, held) == 6 + 2
    assert count_unapplied({0: 10, 1: 7, 2: 3}, held) == 0


def test_records_deleted_before_applied_are_missing() -> None:
    held = {0: Bounds(8, 10), 1: Bounds(0, 7)}
    assert count_missing({0: 5, 1: 0}, held) == 3
    assert count_missing({0: 8, 1: 7}, held) == 0
    assert count_missing({}, held) == 8


def test_positions_decide_where_no_time_does() -> None:
    assert compares_positions(mapping())
    assert not compares_positions(mapping(conflict=newest_wins("at")))
    candidates = Derived(key=("id",), group=("family",), select="SELECT 1")
    assert compares_positions(mapping(conflict=newest_wins("at"), derived=candidates))


@pytest.mark.postgres
class TestForget:
    @pytest.fixture
    def connection(self, scratch: Any) -> Any:
        """A session whose work is rolled back: other tests use the same tables."""
        session = scratch.session()
        with session.transaction(force_rollback=True):
            yield session

    def remember(self, connection: Any, name: str) -> None:
        connection.execute(
            "INSERT INTO sink.row_version (mapping, key, position) VALUES (%s, '[1]', 99)", (name,)
        )

    def test_the_positions_of_one_mapping_go(self, connection: Any) -> None:
        self.remember(connection, "lost")
        self.remember(connection, "other")
        assert forget(connection, "lost", mapping()).positions == 1
        left = "SELECT mapping FROM sink.row_version WHERE mapping IN ('lost', 'other')"
        assert connection.execute(left).fetchall() == [("other",)]

    def test_older_events_expire_where_positions_decide(self, connection: Any) -> None:
        """A full run reads their rows again; a row of a batch has no such position."""
        ids = [
            connection.execute(DEAD_LETTER, given).fetchone()[0]
            for given in (("lost", 0, "OPEN"), ("lost", 1, "PARKED"), ("lost", None, "OPEN"))
        ]
        forgotten = forget(connection, "lost", mapping())
        assert (forgotten.dead_letters, forgotten.left) == (2, 0)
        states = "SELECT status FROM sink.dead_letter WHERE dlq_id = ANY (%s) ORDER BY dlq_id"
        found = [status for (status,) in connection.execute(states, (ids,))]
        assert found == ["DISCARDED", "DISCARDED", "OPEN"]

    def test_where_time_decides_they_wait_on(self, connection: Any) -> None:
        connection.execute(DEAD_LETTER, ("lost", 0, "PARKED"))
        forgotten = forget(connection, "lost", mapping(conflict=newest_wins("at")))
        assert (forgotten.dead_letters, forgotten.left) == (0, 1)

    def test_candidates_start_over(self, connection: Any) -> None:
        connection.execute(
            "CREATE TABLE sink.candidates_lost (id int, _position bigint NOT NULL, "
            "_ordinal bigint NOT NULL DEFAULT 0)"
        )
        connection.execute("INSERT INTO sink.candidates_lost VALUES (1, 99, 4), (2, 5, 0)")
        candidates = Derived(key=("id",), group=("family",), select="SELECT 1")
        assert forget(connection, "lost", mapping(derived=candidates)).positions == 2
        highest = connection.execute("SELECT max(_position) FROM sink.candidates_lost").fetchone()
        assert highest == (0,)

    def test_offsets_are_those_of_this_very_topic(self, connection: Any) -> None:
        for topic_id, offset in (("one", 5), ("two", 6)):
            connection.execute(
                "INSERT INTO sink.partition_offset "
                "(mapping, cluster_id, topic, topic_id, partition, next_offset, owner) "
                "VALUES ('lost', 'c', 't', %s, 0, %s, 'o')",
                (topic_id, offset),
            )
        assert offsets(connection, "lost", Topic("c", "t", "two")) == {0: 6}
